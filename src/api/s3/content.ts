/**
 * What a GET of an object gives: its own bytes, or those of the parts that a manifest stands for,
 * whichever API made it.
 */
import type { EntryState } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader, Operation } from '#proxy/contract.ts';
import { type ManifestPart, manifestKind, openManifest } from '#proxy/manifest.ts';
import { isPartsAccount } from '#proxy/multipart/names.ts';
import { isAllowed } from './access.ts';
import { type Bucket, findBucketAt } from './bucket.ts';
import { refuse } from './errors.ts';
import { dataOf, modifiedSeconds } from './object-headers.ts';
import type { S3Request } from './request.ts';

export interface Content {
  readonly state: EntryState;
  /** Unquoted. */
  readonly etag: string;
  readonly length: number;
  readonly modifiedSeconds: number;
  read(start: number, end: number): AsyncIterable<Uint8Array>;
  /** All bytes, where they came with the state. */
  readonly inline?: Buffer;
  /** Of a large object; undefined for an ordinary one. */
  readonly parts?: readonly ManifestPart[];
}

/** @throws S3Error when what a manifest stands for is not there (any more) */
export async function contentOf(
  request: S3Request,
  bucket: Bucket,
  name: ObjectName,
  reader: ObjectReader,
  /** With the key that opened it. */
  operation: Operation = request,
): Promise<Content> {
  const { state } = reader;
  const kind = manifestKind(state);
  if (kind === undefined) return plainContent(reader);
  const { store } = request.service;
  const options = { mayRead: partsReader(request, bucket) };
  const manifest = await asConflict(openManifest(store, operation, name, reader, options));
  return {
    state,
    etag: manifest.etag,
    length: manifest.length,
    modifiedSeconds: modifiedSeconds(state),
    read: (start, end) => manifest.read(start, end),
    parts: manifest.parts,
  };
}

function plainContent(reader: ObjectReader): Content {
  const { state } = reader;
  const { etag, size } = dataOf(state);
  return {
    state,
    etag,
    length: size,
    modifiedSeconds: modifiedSeconds(state),
    read: (start, end) => reader.read(start, end),
    ...(reader.inline !== undefined && { inline: reader.inline }),
  };
}

/**
 * Parts of a Swift manifest stand in containers with ACLs of their own, each asked once; parts of
 * uploads belong to the object alone.
 */
function partsReader(
  request: S3Request,
  bucket: Bucket,
): (name: { account: string; container: string }) => Promise<boolean> {
  const known = new Map<string, Promise<boolean>>();
  return async ({ account, container }) => {
    if (isPartsAccount(account)) return true;
    if (account === bucket.account && container === bucket.container) return true;
    const key = `${account}/${container}`;
    const answer = known.get(key) ?? mayReadIn(request, account, container);
    known.set(key, answer);
    return await answer;
  };
}

async function mayReadIn(request: S3Request, account: string, container: string): Promise<boolean> {
  const bucket = await findBucketAt(request, account, container);
  return bucket !== undefined && (await isAllowed(request, bucket, 's3:GetObject', ''));
}

async function asConflict<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'manifest-part' && code !== 'malformed') throw error;
    throw refuse('InvalidObjectState', 'A part of this object is not there any more.');
  }
}
