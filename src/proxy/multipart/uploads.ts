/**
 * Uploads in parts, on the Store's own operations: begin, store a part, list, complete, abort. No
 * dialect here; S3's operations call it, and what they make is a manifest that every API reads.
 *
 * A part is never overwritten: each attempt is an object of its own, the newest of a number counts,
 * and the manifest names exactly the ones it is made of, so an upload that goes on while it is being
 * completed can't change the finished object.
 *
 * Completing writes `c/` first, then the object (its write id is the upload's), then removes `u/`. In
 * whatever step a crash falls, both records together tell the sweep (sweeper.ts) and a repeated request
 * what is to be done; parts are only deleted when a linearizable read says that no object is made of
 * them.
 */
import { type DataPart, type EntryState, isLive } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Condition } from '../condition.ts';
import type { ListedObject, Operation, PutRequest, PutResult, Store } from '../contract.ts';
import {
  encodeManifest,
  type ManifestPart,
  manifestLength,
  parsePath,
  readManifest,
} from '../manifest-format.ts';
import { nullName, versionName } from '../versions/names.ts';
import {
  completionName,
  newUploadId,
  parsePartNumber,
  partName,
  partPrefix,
  partsContainer,
  uploadName,
  uploadOfPart,
  writeIdOf,
} from './names.ts';
import { checksumsOfRow, partType, uploadType } from './rows.ts';
import {
  type CompletionRecord,
  decodeCompletion,
  decodeUpload,
  encodeCompletion,
  encodeUpload,
  type UploadRecord,
} from './upload-record.ts';

export interface Upload {
  readonly bucket: ContainerName;
  readonly uploadId: string;
  readonly record: UploadRecord;
}

/** The part that counts for its number. */
export interface StoredPart {
  readonly number: number;
  readonly object: string;
  readonly etag: string;
  readonly size: number;
  readonly clientMicros: number;
  /** By algorithm, from the part's content type: one listing tells all. */
  readonly checksums: Readonly<Record<string, string>>;
}

const PAGE = 10_000;
/** A number may have been sent again and again; above this the upload must be begun anew. */
const MAX_ATTEMPTS = 100_000;
const CONCURRENT_DELETES = 16;
const RANDOM_BYTES = 24;
const WRITE_ID_BYTES = 8;
const SMALL: Pick<PutRequest, 'user' | 'system'> = { user: {}, system: {} };

export class Uploads {
  readonly #store: Store;
  readonly #env: Pick<Env, 'clock' | 'random'>;

  constructor(store: Store, env: Pick<Env, 'clock' | 'random'>) {
    this.#store = store;
    this.#env = env;
  }

  /** @throws OperatingError `no-container`: the bucket is gone */
  async begin(
    operation: Operation,
    bucket: ContainerName,
    wanted: Omit<UploadRecord, 'startedMicros'>,
  ): Promise<Upload> {
    const startedMicros = this.#env.clock.wallMicros();
    const uploadId = newUploadId(this.#env.random.bytes(RANDOM_BYTES), startedMicros);
    const record = { ...wanted, startedMicros };
    const name = uploadName(bucket, record.key, uploadId);
    await this.#keep(operation, bucket, name, encodeUpload(record), uploadType(record));
    return { bucket, uploadId, record };
  }

  /** Undefined: no such upload (any more). */
  async find(
    operation: Operation,
    bucket: ContainerName,
    key: string,
    uploadId: string,
  ): Promise<Upload | undefined> {
    const bytes = await this.#readSmall(operation, uploadName(bucket, key, uploadId));
    return bytes && { bucket, uploadId, record: decodeUpload(bytes) };
  }

  async putPart(
    operation: Operation,
    upload: Upload,
    number: number,
    part: Pick<
      PutRequest,
      'body' | 'length' | 'maxLength' | 'expectedEtag' | 'onReady' | 'encryption'
    >,
    /** Asked when the body has ended. */
    checksums: () => Readonly<Record<string, string>>,
  ): Promise<PutResult> {
    const writeId = this.#env.random.bytes(WRITE_ID_BYTES).toString('hex');
    const name = partName(upload.bucket, upload.uploadId, number, writeId);
    const result = await this.#store.putObject(operation, name, {
      ...SMALL,
      ...part,
      contentType: partType({}),
      writeId,
      // Not counted before they are an object, but nobody fills a disk beyond their quota with them.
      payer: upload.bucket.account,
      finish: () => ({ checksums: checksums(), contentType: partType(checksums()) }),
    });
    if (result.kind !== 'no-container') return result;
    throw new OperatingError('no-container', 'the upload is gone', { ...name });
  }

  /** The newest of each number, in order. */
  async parts(
    operation: Operation,
    { bucket, uploadId }: Pick<Upload, 'bucket' | 'uploadId'>,
  ): Promise<StoredPart[]> {
    const newest = new Map<number, StoredPart>();
    for (const item of await this.#attempts(operation, bucket, uploadId)) {
      const number = parsePartNumber(uploadId, item.name);
      const known = newest.get(number);
      if (known === undefined || isNewer(item, known)) newest.set(number, partOf(item, number));
    }
    return [...newest.values()].sort((a, b) => a.number - b.number);
  }

  /**
   * Makes the object. `checksums`, `etag`: of the whole.
   * @throws OperatingError as the Store's putObject
   */
  async complete(
    operation: Operation,
    upload: Upload,
    whole: {
      readonly parts: readonly StoredPart[];
      readonly etag: string;
      readonly checksums: Readonly<Record<string, string>>;
      readonly condition?: Condition;
    },
  ): Promise<PutResult> {
    const { bucket, uploadId, record } = upload;
    const container = partsContainer(bucket);
    const parts = whole.parts.map(
      ({ object, etag, size }): ManifestPart => ({
        path: `/${container.account}/${container.container}/${object}`,
        etag,
        size,
      }),
    );
    const size = manifestLength(parts);
    const { etag, checksums, condition } = whole;
    await this.#complete(operation, bucket, uploadId, { key: record.key, etag, size, checksums });
    const body = encodeManifest({ kind: 'multipart', parts });
    const single = this.#single(upload, condition);
    const result = await this.#store.putObject(operation, objectOf(upload), {
      contentType: record.contentType,
      user: record.user,
      system: record.system,
      groups: record.groups,
      body: once(body),
      length: body.length,
      maxLength: body.length,
      writeId: writeIdOf(uploadId),
      manifest: {
        kind: 'multipart',
        etag,
        size,
        ...(record.encryption !== undefined && { encryption: record.encryption }),
      },
      finish: () => ({ checksums }),
      condition: single,
    });
    const made = single.made();
    if (result.kind === 'precondition-failed' && made !== undefined) {
      return { kind: 'stored', etag: made.etag, size: made.size, clientMicros: made.clientMicros };
    }
    if (result.kind === 'stored') {
      await this.#forgetQuietly(operation, uploadName(bucket, record.key, uploadId));
      await this.#deleteOthers(operation, upload, whole.parts);
    }
    return result;
  }

  /**
   * Of two requests that complete an upload at once one makes the object: the other could name other
   * parts, and the first would then delete them.
   */
  #single(
    { uploadId }: Upload,
    condition: Condition | undefined,
  ): Condition & { readonly made: () => DataPart | undefined } {
    let made: DataPart | undefined;
    return {
      holds: (current) => {
        const isOurs = madeBy(current, uploadId, this.#env.clock.wallMicros() / 1e6);
        made = isOurs ? current?.data : undefined;
        return !isOurs && (condition === undefined || condition.holds(current));
      },
      /** The object, where it had been made already. */
      made: () => made,
      ...(condition === undefined && { weakly: true }),
    };
  }

  /** How an upload that is not there any more ended; undefined: aborted, or never begun. */
  async completion(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
  ): Promise<CompletionRecord | undefined> {
    const bytes = await this.#readSmall(operation, completionName(bucket, uploadId));
    return bytes && decodeCompletion(bytes);
  }

  /** `completed`: too late, an object is made of it. */
  async abort(operation: Operation, upload: Upload): Promise<'aborted' | 'completed'> {
    const { bucket, uploadId, record } = upload;
    const begun = await this.completion(operation, bucket, uploadId);
    const name = uploadName(bucket, record.key, uploadId);
    if (begun !== undefined && (await this.isUsed(operation, upload))) {
      await this.#forgetQuietly(operation, name);
      return 'completed';
    }
    await this.#store.deleteObject(operation, name);
    await this.discard(operation, bucket, uploadId);
    return 'aborted';
  }

  /**
   * Whether the object of that key, or a version of it, is made of this upload's parts. Linearizable
   * reads: an undecided write is decided by having been looked at. The null version is looked for in its
   * own place first, from where it may move. A change of metadata gives the object a write id of its own,
   * so where the id is another one, the manifest itself tells (simulator with uploads, seed 3: the parts of
   * an object that had been given tags were swept).
   */
  async isUsed(
    operation: Operation,
    {
      bucket,
      uploadId,
      record,
    }: { bucket: ContainerName; uploadId: string; record: { key: string } },
  ): Promise<boolean> {
    const { txn, signal } = operation;
    const { account, container } = bucket;
    const name = { account, container, object: record.key };
    for (const place of [name, nullName(name), versionName(name, writeIdOf(uploadId))]) {
      const newest: Operation = { txn, signal, read: 'newest' };
      const state = await this.#store.statObject(newest, place);
      if (madeBy(state, uploadId, this.#env.clock.wallMicros() / 1e6)) return true;
      if (state?.data?.manifest !== 'multipart') continue;
      if (await this.#isMadeOf(newest, place, uploadId)) return true;
    }
    return false;
  }

  async #isMadeOf(operation: Operation, place: ObjectName, uploadId: string): Promise<boolean> {
    const reader = await this.#store.openObject(operation, place);
    if (reader?.state.data?.manifest !== 'multipart') return false;
    const { parts } = await readManifest(reader);
    return parts.some(({ path }) => uploadOfPart(parsePath(path)?.object ?? '') === uploadId);
  }

  /** An upload that an object is made of is not under way any more. */
  async end(
    operation: Operation,
    {
      bucket,
      uploadId,
      record,
    }: { bucket: ContainerName; uploadId: string; record: { key: string } },
  ): Promise<void> {
    await this.#forgetQuietly(operation, uploadName(bucket, record.key, uploadId));
  }

  /** Deletes every part of an upload that no object is made of, and what remembers it. */
  async discard(operation: Operation, bucket: ContainerName, uploadId: string): Promise<number> {
    const items = await this.#attempts(operation, bucket, uploadId);
    await this.#deleteAll(operation, bucket, items);
    await this.#store.deleteObject(operation, completionName(bucket, uploadId));
    return items.length;
  }

  async #complete(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
    record: CompletionRecord,
  ): Promise<void> {
    const name = completionName(bucket, uploadId);
    await this.#keep(operation, bucket, name, encodeCompletion(record), 'application/json');
  }

  /** Parts that the client sent and did not name. */
  async #deleteOthers(
    operation: Operation,
    { bucket, uploadId }: Upload,
    used: readonly StoredPart[],
  ): Promise<void> {
    const kept = new Set(used.map(({ object }) => object));
    const items = await this.#attempts(operation, bucket, uploadId).catch(() => []); // the sweep's then
    await this.#deleteAll(
      operation,
      bucket,
      items.filter(({ name }) => !kept.has(name)),
    );
  }

  async #deleteAll(
    operation: Operation,
    bucket: ContainerName,
    items: readonly ListedObject[],
  ): Promise<void> {
    const container = partsContainer(bucket);
    for (let at = 0; at < items.length; at += CONCURRENT_DELETES) {
      const batch = items.slice(at, at + CONCURRENT_DELETES);
      await Promise.all(
        batch.map(({ name }) => this.#forgetQuietly(operation, { ...container, object: name })),
      );
    }
  }

  async #attempts(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
  ): Promise<ListedObject[]> {
    const found: ListedObject[] = [];
    let marker: string | undefined;
    for (;;) {
      const page = await this.#store.listObjects(operation, partsContainer(bucket), {
        limit: PAGE,
        prefix: partPrefix(uploadId),
        ...(marker !== undefined && { marker }),
      });
      for (const item of page?.items ?? []) if (!('prefix' in item)) found.push(item);
      marker = found.at(-1)?.name;
      if (page?.truncated !== true) return found;
      if (found.length > MAX_ATTEMPTS) {
        throw new OperatingError('overloaded', 'the upload has too many parts', { uploadId });
      }
    }
  }

  /** In the bucket's parts container, which is made when it is not there. */
  async #keep(
    operation: Operation,
    bucket: ContainerName,
    name: ObjectName,
    body: Buffer,
    contentType: string,
  ): Promise<void> {
    const put = (): Promise<PutResult> =>
      this.#store.putObject(operation, name, {
        ...SMALL,
        contentType,
        body: once(body),
        length: body.length,
        maxLength: body.length,
      });
    if ((await put()).kind === 'stored') return;
    const info = await this.#store.containerInfo(operation, bucket, false);
    if (info === undefined) throw new OperatingError('no-container', 'the bucket is gone');
    const { policy, mode } = info;
    const container = partsContainer(bucket);
    await this.#store.createContainer(operation, container, {
      policy: policy.index,
      mode,
      changes: {},
    });
    if ((await put()).kind !== 'stored') {
      throw new OperatingError('unavailable', 'the container for parts could not be made');
    }
  }

  async #readSmall(operation: Operation, name: ObjectName): Promise<Buffer | undefined> {
    const reader = await this.#store.openObject(operation, name);
    if (reader === undefined) return undefined;
    if (reader.inline !== undefined) return reader.inline;
    const chunks: Buffer[] = [];
    for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** What stays behind is the sweep's. */
  async #forgetQuietly(operation: Operation, name: ObjectName): Promise<void> {
    try {
      await this.#store.deleteObject(operation, name);
    } catch (error) {
      if (codeOf(error) === 'internal') throw error;
    }
  }
}

/** Of a bucket that was deleted. What can't be deleted now is the sweep's. */
export async function abandonUploads(
  store: Store,
  operation: Operation,
  bucket: ContainerName,
): Promise<void> {
  const container = partsContainer(bucket);
  if ((await store.containerInfo(operation, container, false)) === undefined) return;
  const page = await store.listObjects(operation, container, { limit: PAGE });
  for (const item of page?.items ?? []) {
    if (!('prefix' in item))
      await store.deleteObject(operation, { ...container, object: item.name });
  }
  if (page?.truncated !== true) await store.deleteContainer(operation, container);
}

function madeBy(state: EntryState | undefined, uploadId: string, nowSeconds: number): boolean {
  if (!isLive(state, nowSeconds)) return false;
  const data = state?.data;
  return data?.manifest === 'multipart' && data.writeId === writeIdOf(uploadId);
}

function partOf(item: ListedObject, number: number): StoredPart {
  const checksums = checksumsOfRow(item);
  const { name: object, etag, bytes: size, clientMicros } = item;
  return { number, object, etag, size, clientMicros, checksums };
}

function isNewer(item: ListedObject, known: StoredPart): boolean {
  if (item.clientMicros !== known.clientMicros) return item.clientMicros > known.clientMicros;
  return item.name > known.object;
}

function objectOf({ bucket, record }: Upload): ObjectName {
  return { ...bucket, object: record.key };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
