/** Splits a raw target into path and query, without the scheme and host of an absolute form. */
export function splitTarget(raw: string): { path: string; query: string } {
  let start = 0;
  if (raw.charCodeAt(0) !== 0x2f) {
    const scheme = /^https?:\/\/[^/?]*/i.exec(raw);
    start = scheme === null ? 0 : scheme[0].length;
  }
  const mark = raw.indexOf('?', start);
  if (mark < 0) return { path: start === 0 ? raw : raw.slice(start), query: '' };
  return { path: raw.slice(start, mark), query: raw.slice(mark + 1) };
}
