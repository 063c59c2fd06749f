/**
 * Uploads in parts, on the Store's own operations: begin, store a part, list, complete, abort. No
 * dialect here; S3's operations call it, and what they make is a manifest that every API reads.
 *
 * A part is never overwritten: each attempt is an object of its own, the newest of a number counts,
 * and the manifest names exactly the ones it is made of, so an upload that goes on while it is being
 * completed can't change the finished object. Clocks don't order attempts: who stores one looks first which
 * there are (`slot`), takes a time above theirs, and its row tells which it has replaced.
 *
 * Completing claims `u/` (claims.ts), writes `c/`, then the object (its write id is the upload's), then
 * removes `u/`. In whatever step a crash falls, both records together tell the sweep (sweeper.ts) and a
 * repeated request what is to be done; parts are only deleted when nobody can complete the upload any more,
 * and it is decided that no object is made of them. README.md has the reasons.
 */
import type { DataPart } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Condition } from '../condition.ts';
import type { ListedObject, Operation, PutRequest, PutResult, Store } from '../contract.ts';
import { encodeManifest, type ManifestPart, manifestLength } from '../manifest-format.ts';
import { listAttempts, type PartSlot, type StoredPart, slotAfter, standing } from './attempts.ts';
import { type Claim, isDone, UploadClaims } from './claims.ts';
import {
  completionName,
  newUploadId,
  partName,
  partPrefix,
  partsContainer,
  slotPrefix,
  uploadName,
  writeIdOf,
} from './names.ts';
import { partType, uploadType } from './rows.ts';
import {
  type CompletionRecord,
  decodeCompletion,
  decodeUpload,
  encodeCompletion,
  encodeUpload,
  type UploadRecord,
  wholeOf,
} from './upload-record.ts';
import { isUsed, madeBy, type NamedUpload, usedParts } from './use.ts';

export interface Upload {
  readonly bucket: ContainerName;
  readonly uploadId: string;
  readonly record: UploadRecord;
}

/** `over`: it was aborted, or completed and the record tells how. */
export type CompleteResult = PutResult | { readonly kind: 'over' };

interface Whole {
  readonly parts: readonly StoredPart[];
  readonly etag: string;
  readonly checksums: Readonly<Record<string, string>>;
  readonly condition?: Condition;
}

const CONCURRENT_DELETES = 16;
const MAX_ABORTS = 4;
const RANDOM_BYTES = 24;
const WRITE_ID_BYTES = 8;
const SMALL: Pick<PutRequest, 'user' | 'system'> = { user: {}, system: {} };
const JSON_TYPE: Pick<PutRequest, 'contentType'> = { contentType: 'application/json' };

export class Uploads {
  readonly #store: Store;
  readonly #env: Pick<Env, 'clock' | 'random'>;
  readonly #claims: UploadClaims;

  constructor(store: Store, env: Pick<Env, 'clock' | 'random'>) {
    this.#store = store;
    this.#env = env;
    this.#claims = new UploadClaims(store, env);
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
    const { user: owner } = operation;
    // Where the user has uploads under way stands in the user's own account by that (account-usage.ts).
    await this.#keep(operation, bucket, name, encodeUpload(record), {
      contentType: uploadType(record),
      ...(owner !== undefined && { owner }),
    });
    return { bucket, uploadId, record };
  }

  /** Undefined: no such upload (any more). */
  async find(
    operation: Operation,
    bucket: ContainerName,
    key: string,
    uploadId: string,
  ): Promise<Upload | undefined> {
    const reader = await this.#store.openObject(operation, uploadName(bucket, key, uploadId));
    if (reader === undefined || isDone(reader.state)) return undefined;
    return { bucket, uploadId, record: decodeUpload(await wholeOf(reader)) };
  }

  /**
   * Asked before an attempt is stored; whatever was acknowledged before is seen. It needs nothing of the
   * upload, so that who looks for that can ask at the same time, and no round trip is added.
   */
  async slot(
    operation: Operation,
    { bucket, uploadId }: Pick<Upload, 'bucket' | 'uploadId'>,
    number: number,
  ): Promise<PartSlot> {
    const prefix = slotPrefix(uploadId, number);
    return slotAfter(number, await listAttempts(this.#store, operation, bucket, prefix));
  }

  async putPart(
    operation: Operation,
    upload: Upload,
    { number, newest }: PartSlot,
    part: Pick<
      PutRequest,
      'body' | 'length' | 'maxLength' | 'expectedEtag' | 'onReady' | 'encryption'
    >,
    /** Asked when the body has ended. */
    checksums: () => Readonly<Record<string, string>>,
  ): Promise<PutResult> {
    const writeId = this.#env.random.bytes(WRITE_ID_BYTES).toString('hex');
    const name = partName(upload.bucket, upload.uploadId, number, writeId);
    const nowMicros = this.#env.clock.wallMicros();
    const clientMicros = newest === undefined ? undefined : Math.max(newest + 1, nowMicros);
    const result = await this.#store.putObject(operation, name, {
      ...SMALL,
      ...part,
      ...(clientMicros !== undefined && { clientMicros }),
      contentType: partType({}, newest),
      writeId,
      // Nobody fills a disk beyond their quota with parts that are no object yet (under-way.ts).
      bucket: upload.bucket,
      finish: () => ({ checksums: checksums(), contentType: partType(checksums(), newest) }),
    });
    if (result.kind !== 'no-container') return result;
    throw new OperatingError('no-container', 'the upload is gone', { ...name });
  }

  /** The newest of each number, in order. */
  async parts(
    operation: Operation,
    upload: Pick<Upload, 'bucket' | 'uploadId'>,
  ): Promise<StoredPart[]> {
    const seen = new Set<number>();
    return (await this.attempts(operation, upload)).filter(({ number }) => {
      const isNewest = !seen.has(number);
      seen.add(number);
      return isNewest;
    });
  }

  /**
   * Those that no later one has replaced: more than one of a number only where they were sent at the same
   * time. In the order of numbers, the newest of each first.
   */
  async attempts(
    operation: Operation,
    { bucket, uploadId }: Pick<Upload, 'bucket' | 'uploadId'>,
  ): Promise<StoredPart[]> {
    return standing(uploadId, await this.#attempts(operation, bucket, uploadId));
  }

  /**
   * Makes the object. `checksums`, `etag`: of the whole.
   * @throws OperatingError as the Store's putObject
   */
  async complete(operation: Operation, upload: Upload, whole: Whole): Promise<CompleteResult> {
    const { bucket, uploadId, record } = upload;
    const name = uploadName(bucket, record.key, uploadId);
    const claim = await this.#claims.take(operation, name);
    if (claim === undefined) return { kind: 'over' };
    let isMade = false;
    try {
      const result = await this.#make(operation, upload, whole, claim);
      isMade = result.kind === 'stored';
      return result;
    } finally {
      // Also for a client that has gone: an abort would have to wait.
      const last: Operation = { ...operation, signal: new AbortController().signal };
      if (isMade) await this.#finish(last, upload, claim, whole.parts);
      else await quietly(this.#claims.release(last, name, claim));
    }
  }

  async #make(
    operation: Operation,
    upload: Upload,
    whole: Whole,
    claim: Claim,
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
    const single = this.#single(upload, claim, condition);
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
    if (result.kind === 'precondition-failed' && !claim.isHeld()) {
      throw new OperatingError('unavailable', 'completing the upload takes too long', { uploadId });
    }
    return result;
  }

  /** Others that complete it at the same time may be about to make the object of other parts. */
  async #finish(
    operation: Operation,
    upload: Upload,
    claim: Claim,
    used: readonly StoredPart[],
  ): Promise<void> {
    const name = uploadName(upload.bucket, upload.record.key, upload.uploadId);
    const outcome = await quietly(this.#claims.finish(operation, name, claim));
    if (outcome === 'removed') await this.#deleteOthers(operation, upload, used);
  }

  /**
   * Of two requests that complete an upload at once one makes the object: the other could name other
   * parts, and the first would then delete them.
   */
  #single(
    { uploadId }: Upload,
    claim: Claim,
    condition: Condition | undefined,
  ): Condition & { readonly made: () => DataPart | undefined } {
    let made: DataPart | undefined;
    return {
      holds: (current) => {
        const isOurs = madeBy(current, uploadId, this.#env.clock.wallMicros() / 1e6);
        made = isOurs ? current?.data : undefined;
        return !isOurs && claim.isHeld() && (condition === undefined || condition.holds(current));
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

  /**
   * `completed`: too late, an object is made of it; `over`: it had ended before, in whatever way. While others
   * complete it, it is waited for what comes of it.
   * @throws OperatingError `unavailable`: that takes too long
   */
  async abort(operation: Operation, upload: Upload): Promise<'aborted' | 'completed' | 'over'> {
    const { bucket, uploadId, record } = upload;
    const name = uploadName(bucket, record.key, uploadId);
    for (let attempt = 0; attempt < MAX_ABORTS; attempt++) {
      const watched = await this.#claims.vacate(operation, name);
      // Read after those that complete it have ended.
      const begun = await this.completion(operation, bucket, uploadId);
      if (begun !== undefined && (await this.#decide(operation, upload))) {
        await quietly(this.#claims.remove(operation, name, watched));
        return 'completed';
      }
      const outcome = await this.#claims.remove(operation, name, watched);
      // Gone only now: an object may have been made of it since it was looked for.
      if (outcome === 'kept' || (outcome === 'gone' && watched.is !== 'gone')) continue;
      await this.discard(operation, bucket, uploadId);
      return watched.is === 'open' ? 'aborted' : 'over';
    }
    throw new OperatingError('unavailable', 'the upload is being completed', { uploadId });
  }

  /** Whether an object is made of its parts: see use.ts. */
  isUsed(operation: Operation, upload: NamedUpload): Promise<boolean> {
    return isUsed(this.#store, this.#env.clock, operation, upload);
  }

  /**
   * Whether an object is made of it, for good: who completed it may have left it on one replica, where a read
   * does not find it, and a later one does.
   */
  #decide(operation: Operation, upload: NamedUpload): Promise<boolean> {
    return this.isUsed({ ...operation, decides: true }, upload);
  }

  /**
   * Deletes what was sent of an upload and is not part of the object that was made of it; only where its record
   * is gone, so that no other can be made any more. Gives how many.
   */
  async trim(operation: Operation, bucket: ContainerName, uploadId: string): Promise<number> {
    const record = await this.completion(operation, bucket, uploadId);
    if (record === undefined) return 0;
    const items = await this.#attempts(operation, bucket, uploadId);
    const used = await usedParts(this.#store, operation, { bucket, uploadId, record });
    if (used.size === 0) return 0;
    const others = items.filter(({ name }) => !used.has(name));
    await this.#deleteAll(operation, bucket, others);
    return others.length;
  }

  /** An upload that an object is made of is not under way any more. */
  async end(operation: Operation, upload: NamedUpload): Promise<void> {
    const { bucket, uploadId, record } = upload;
    const name = uploadName(bucket, record.key, uploadId);
    const watched = await this.#claims.vacate(operation, name);
    // Another one that completed it may have left its object undecided.
    const isDecided = (await quietly(this.#decide(operation, upload))) !== undefined;
    if (isDecided) await quietly(this.#claims.remove(operation, name, watched));
  }

  /** Whether an object was made of it, though its record is there still. */
  async isDone(operation: Operation, { bucket, uploadId, record }: NamedUpload): Promise<boolean> {
    const name = uploadName(bucket, record.key, uploadId);
    const state = await this.#store.statObject(operation, name);
    return state !== undefined && isDone(state);
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
    await this.#keep(operation, bucket, name, encodeCompletion(record), JSON_TYPE);
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

  #attempts(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
  ): Promise<ListedObject[]> {
    return listAttempts(this.#store, operation, bucket, partPrefix(uploadId));
  }

  /** In the bucket's parts container, which is made when it is not there. */
  async #keep(
    operation: Operation,
    bucket: ContainerName,
    name: ObjectName,
    body: Buffer,
    facts: Pick<PutRequest, 'contentType' | 'owner'>,
  ): Promise<void> {
    const put = (): Promise<PutResult> =>
      this.#store.putObject(operation, name, {
        ...SMALL,
        ...facts,
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
    return reader && (await wholeOf(reader));
  }

  /** What stays behind is the sweep's. */
  async #forgetQuietly(operation: Operation, name: ObjectName): Promise<void> {
    await quietly(this.#store.deleteObject(operation, name));
  }
}

/** What can't be done now is the sweep's. */
async function quietly<Result>(work: Promise<Result>): Promise<Result | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'internal') throw error;
    return undefined;
  }
}

function objectOf({ bucket, record }: Upload): ObjectName {
  return { ...bucket, object: record.key };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
