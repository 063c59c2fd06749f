/** GET ?multipart-manifest=get: the manifest itself, for people and for clients that copy it. */
import { hash } from 'node:crypto';
import type { ObjectReader } from '#proxy/contract.ts';
import { readManifest } from '#proxy/manifest.ts';
import type { Content } from './content.ts';
import { faceOf } from './object-headers.ts';
import type { SwiftRequest } from './request.ts';
import { rawManifest, shownManifest } from './slo-manifest.ts';

export async function manifestView(request: SwiftRequest, reader: ObjectReader): Promise<Content> {
  const { parts } = await readManifest(reader);
  const raw = request.query.get('format') === 'raw';
  const inline = raw ? rawManifest(parts) : shownManifest(parts);
  const face = {
    ...faceOf(reader.state),
    etag: hash('md5', inline, 'hex'),
    large: false,
    contentType: 'application/json; charset=utf-8',
    length: inline.length,
  };
  return { face, degraded: reader.degraded, read: () => once(inline), inline };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
