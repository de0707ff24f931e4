// Files that lie on the host in parts: fetched once, then kept by the browser under their hash.

// Returns the bytes of `file` ({bytes, parts: [{file, bytes, sha256}]}); calls `progress` with the
// number of bytes that came. Throws where a part is missing or is another.
export async function loadFile(file, progress, cache) {
  const whole = new Uint8Array(file.bytes);
  let offset = 0;
  for (const part of file.parts) {
    const target = whole.subarray(offset, offset + part.bytes);
    if (!(await fromCache(part, target, cache, progress))) {
      await fromHost(part, target, cache, progress);
    }
    offset += part.bytes;
  }
  return whole;
}

// The cache of this page; null where the browser has none for it (no https and not localhost).
export async function openCache(name) {
  try {
    return await caches.open(name);
  } catch {
    return null;
  }
}

// Removes the parts of models that this page had before.
export async function removeOthers(cache, files) {
  const kept = files.flatMap((file) => file.parts.map((part) => address(part)));
  for (const request of (await cache?.keys()) ?? []) {
    if (!kept.includes(request.url)) await cache.delete(request);
  }
}

function address(part) {
  return new URL(`${part.file}?${part.sha256.slice(0, 16)}`, self.location.href).href;
}

async function fromCache(part, target, cache, progress) {
  const found = await cache?.match(address(part));
  if (!found) return false;
  const bytes = new Uint8Array(await found.arrayBuffer());
  if (bytes.length !== part.bytes || !(await isRight(bytes, part))) return false;
  target.set(bytes);
  progress(bytes.length);
  return true;
}

async function fromHost(part, target, cache, progress) {
  const response = await fetch(address(part));
  if (!response.ok) throw new Error(`${part.file}: the host answers ${response.status}`);
  const reader = response.body.getReader();
  let count = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (count + value.length > part.bytes) throw new Error(`${part.file} is too long`);
    target.set(value, count);
    count += value.length;
    progress(value.length);
  }
  if (count !== part.bytes) throw new Error(`${part.file} was cut off`);
  if (!(await isRight(target, part))) throw new Error(`${part.file} is damaged`);
  try {
    await cache?.put(address(part), new Response(target.slice()));
  } catch {
    // no room: it is fetched again the next time
  }
}

async function isRight(bytes, part) {
  if (!self.crypto?.subtle) return true; // not on plain http
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('') === part.sha256;
}
