// Threads need a page that is isolated from others. Where the host does not send the two headers
// that say so, a service worker adds them: the page is loaded once more, through it.

const KEY = `isolated ${location.pathname}`;

// Returns whether threads work; does not return where the page is being loaded again.
export async function isolate() {
  try {
    if (self.crossOriginIsolated) {
      sessionStorage.removeItem(KEY);
      return true;
    }
    if (!navigator.serviceWorker || sessionStorage.getItem(KEY)) return false;
    await navigator.serviceWorker.register('sw.js');
    await navigator.serviceWorker.ready;
    sessionStorage.setItem(KEY, 'tried');
  } catch {
    return self.crossOriginIsolated ?? false; // no storage, or no such workers here
  }
  location.reload();
  return new Promise(() => {});
}
