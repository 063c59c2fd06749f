/** Bodies: a function of the write's number, so that any byte of any version can be checked alone. */
import { createHash } from 'node:crypto';

export const TAG = 'x-object-meta-tag';

export interface Content {
  readonly write: number;
  readonly size: number;
  readonly etag: string;
}

export function bytesOf(write: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  const salt = Math.imul(write + 1, 0x9e3779b1) >>> 0;
  for (let i = start; i < end; i++) {
    let x = Math.imul(i ^ salt, 0x85ebca6b);
    x ^= x >>> 13;
    bytes[i - start] = (x ^ (x >>> 8)) & 0xff;
  }
  return bytes;
}

export function makeContent(write: number, size: number): Content {
  return {
    write,
    size,
    etag: createHash('md5')
      .update(bytesOf(write, 0, size))
      .digest('hex'),
  };
}

const TYPE = /^sim\/(\d+)$/;

/** The content type names the write: replicas, reads and listings all carry it. */
export function typeOf(write: number): string {
  return `sim/${write}`;
}

export function writeOf(contentType: string): number | undefined {
  const match = TYPE.exec(contentType);
  return match === null ? undefined : Number(match[1]);
}
