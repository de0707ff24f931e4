// The model, which runs in a worker so that the page stays quick.

// Returns the model once it is loaded; `progress` is called with a share, 0 to 1, and a text.
export function startModel(page, threads, progress) {
  const worker = new Worker('worker.js', { type: 'module' });
  let answers = null; // what waits for the worker: {resolve, reject}

  function ask(message) {
    return new Promise((resolve, reject) => {
      answers = { resolve, reject };
      worker.postMessage(message);
    });
  }

  worker.onmessage = ({ data }) => {
    if (data.progress) progress(...data.progress);
    else if (data.error) answers.reject(new Error(data.error));
    else answers.resolve(data.answer);
  };
  worker.onerror = (event) => answers?.reject(new Error(event.message || 'its worker stopped'));

  async function translate(picture, view) {
    const { pixels, width, height, milliseconds } = await ask({ picture, view });
    return { image: new ImageData(pixels, width, height), milliseconds };
  }
  // Draws another noise, for the translations from now on.
  const again = () => ask({ again: true });

  return ask({ page, threads }).then((about) => ({ translate, again, about }), (problem) => {
    worker.terminate();
    throw problem;
  });
}
