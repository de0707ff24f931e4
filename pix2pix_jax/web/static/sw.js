// The service worker: adds to what this folder's host sends the headers that isolate the page, and
// the page's policy, which a <meta> does not give to workers. It keeps nothing. To modules it gives
// the type without which browsers refuse them: many hosts do not know what .mjs is. All else in this
// folder and below it, as other pages and their workers, stays as its host sends it.

const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "$policy",
};

const FILES = ['.', 'index.html', ...$scripts];
const OURS = FILES.map((name) => new URL(name, self.location.href).pathname);

async function withHeaders(request) {
  const response = await fetch(request);
  if (!response.ok) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const isModule = new URL(request.url).pathname.endsWith('.mjs');
  if (isModule) headers.set('Content-Type', 'text/javascript');
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const isHere = origin === self.location.origin && request.method === 'GET';
  if (isHere && OURS.includes(pathname)) event.respondWith(withHeaders(request));
});
