/**
 * What a GET of an object gives: its own bytes, or those of the parts that a manifest stands for.
 */
import { codeOf, OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader } from '#proxy/contract.ts';
import { dynamicTarget, type ManifestPart, manifestKind, openManifest } from '#proxy/manifest.ts';
import { authorizeOther, mayRead } from './access.ts';
import { refuse } from './errors.ts';
import { type Face, faceOf } from './object-headers.ts';
import type { SwiftRequest } from './request.ts';
import { parseObjectPath } from './target.ts';

export interface Content {
  readonly face: Face;
  readonly degraded: boolean;
  read(start: number, end: number): AsyncIterable<Uint8Array>;
  /** All bytes, where they came with the state. */
  readonly inline?: Buffer;
  /** Of a static large object. */
  readonly parts?: readonly ManifestPart[];
}

/** The object's stored bytes; of a dynamic manifest, too (`multipart-manifest=get`). */
export function ownContent(reader: ObjectReader): Content {
  return {
    face: faceOf(reader.state),
    degraded: reader.degraded,
    read: (start, end) => reader.read(start, end),
    inline: reader.inline,
  };
}

/** @throws Refusal 409 when what the manifest stands for is not there (any more) */
export async function largeContent(
  request: SwiftRequest,
  name: ObjectName,
  reader: ObjectReader,
): Promise<Content> {
  const { store } = request.service;
  await authorizeParts(request, name, reader);
  const options = { mayRead: mayRead(request) };
  const manifest = await asConflict(openManifest(store, request, name, reader, options));
  const own = faceOf(reader.state);
  const dynamic = manifest.kind === 'dynamic';
  const face = dynamic
    ? { ...own, etag: manifest.etag, large: true, length: manifest.length }
    : own;
  return {
    face,
    degraded: reader.degraded,
    read: (start, end) => brokenAsConflict(manifest.read(start, end)),
    ...(!dynamic && { parts: manifest.parts }),
  };
}

/**
 * A dynamic manifest is made of a listing, which tells names, sizes and etags: only who may read
 * what it lists may have it. (Parts of a static one are asked for one by one.)
 */
async function authorizeParts(
  request: SwiftRequest,
  name: ObjectName,
  reader: ObjectReader,
): Promise<void> {
  if (manifestKind(reader.state) !== 'dynamic') return;
  const parts = parseObjectPath(decodeTarget(dynamicTarget(reader.state) ?? ''));
  if (parts === undefined) throw refuse('conflict');
  await authorizeOther(request, { account: name.account, container: parts.container }, 'read');
}

/** As the proxy decodes it: what is checked must be what is listed. */
function decodeTarget(target: string): string {
  try {
    return decodeURIComponent(target);
  } catch {
    return target;
  }
}

async function asConflict<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw conflictOf(error);
  }
}

async function* brokenAsConflict<Chunk>(source: AsyncIterable<Chunk>): AsyncGenerator<Chunk> {
  try {
    yield* source;
  } catch (error) {
    throw conflictOf(error);
  }
}

/** A part that changed or is gone: Swift's 409, if nothing has been sent yet; 404 for a container. */
function conflictOf(error: unknown): unknown {
  const code = codeOf(error);
  const reason = error instanceof OperatingError ? error.facts['reason'] : undefined;
  if (code === 'manifest-part' && reason === 'no-container') return refuse('not-found');
  return code === 'manifest-part' || code === 'malformed' ? refuse('conflict') : error;
}
