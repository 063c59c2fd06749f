/**
 * PUT of an object. A small body is taken into memory and goes to all replicas in one call each; a
 * large one is staged while it arrives and committed at the end. In both cases nothing is current
 * anywhere before the whole body was seen to be what the client declared.
 */

import { type EntryState, newestTimestamp } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { isInternal, type ObjectName, objectPath, userAccount } from '#base/names.ts';
import { type Release, Semaphore } from '#base/semaphore.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { AccountQuotas } from './account-quotas.ts';
import { type Intake, takeBody } from './body-intake.ts';
import type { BucketUsage } from './bucket-usage.ts';
import { type Containers, isForeign } from './containers.ts';
import { clientGone, newWriteId, type ProxyContext } from './context.ts';
import type { ContainerInfo, Operation, PutRequest, PutResult } from './contract.ts';
import type { Sealer } from './encryption/encryption.ts';
import { withFreshContainer } from './fresh-container.ts';
import { withFreshRing } from './fresh-ring.ts';
import { isPartsAccount } from './multipart/names.ts';
import { stateMaker } from './new-state.ts';
import { conditionIn, expectWeak, type FoundObject, type Objects } from './objects.ts';
import { objectPlace, type Place, type Replica } from './placement.ts';
import { checkReady } from './readiness.ts';
import { OwnWrite } from './round-record.ts';
import { StageUpload } from './stage-upload.ts';
import type { Trace } from './trace.ts';
import { uploadReplicas } from './upload-replicas.ts';
import { VERSIONS_ACCOUNT } from './versions/names.ts';
import { type ObjectWrite, type Refused, type Written, writeObject } from './write-object.ts';
import { endInPolicy, endQuietly } from './write-tombstone.ts';

/** One chunk as it comes from a socket. */
const MIN_BUFFER_BYTES = 64 * 1024;

interface Put {
  readonly operation: Operation;
  readonly trace: Trace;
  readonly name: ObjectName;
  readonly request: PutRequest;
  readonly container: ContainerInfo;
  readonly place: Place;
  readonly own: OwnWrite;
  readonly owner: string | undefined;
  readonly sealer: Sealer | undefined;
}

const NOT_STORED = { etag: '', size: 0, clientMicros: 0 };

export class Puts {
  readonly #context: ProxyContext;
  readonly #containers: Containers;
  readonly #objects: Objects;
  readonly #quotas: AccountQuotas;
  readonly #usage: BucketUsage;
  /** Bytes of bodies that are being buffered. */
  readonly #buffers: Semaphore;
  readonly #streams: Semaphore;

  constructor(
    context: ProxyContext,
    containers: Containers,
    objects: Objects,
    quotas: AccountQuotas,
    usage: BucketUsage,
  ) {
    this.#context = context;
    this.#containers = containers;
    this.#objects = objects;
    this.#quotas = quotas;
    this.#usage = usage;
    this.#buffers = new Semaphore(context.limits.bufferBudgetBytes, MAX_WAITING);
    this.#streams = new Semaphore(context.limits.streams, MAX_WAITING);
  }

  async put(
    operation: Operation,
    trace: Trace,
    name: ObjectName,
    request: PutRequest,
  ): Promise<PutResult> {
    const container = await this.#containers.info(operation, trace, name);
    if (container === undefined) return { kind: 'no-container', ...NOT_STORED };
    const payers = payersOf(operation, name, request);
    // Links and delete markers hold nothing, and what is only kept in another place was there before.
    if (request.version === undefined && request.stored === undefined) {
      const bucket = await this.#bucketOf(operation, trace, container, request);
      const isThere = bucket && (await this.#usage.mayHold(operation, trace, bucket, request));
      if (!isThere) return { kind: 'no-container', ...NOT_STORED };
      for (const payer of payers) this.#quotas.check(payer, request);
    }
    const { env } = this.#context;
    const place = this.#placeOf(container, name);
    const sealer = await this.#context.encryption.sealerFor(container, request);
    const put = {
      operation,
      trace,
      name,
      request,
      container,
      place,
      own: new OwnWrite(request.writeId ?? newWriteId(env)),
      owner: ownerOf(operation, name, request),
      sealer,
    };
    if (!(await this.#mayHold(put))) return { kind: 'precondition-failed', ...NOT_STORED };
    try {
      const stored = await this.#store(put);
      if (request.bucket !== undefined && isPartsAccount(name.account)) {
        this.#usage.took(request.bucket, operation.user, stored.size);
      }
      return stored;
    } catch (error) {
      return await this.#refused(put, error);
    } finally {
      for (const payer of payers) this.#quotas.refresh(payer);
    }
  }

  #bucketOf(
    operation: Operation,
    trace: Trace,
    container: ContainerInfo,
    { bucket }: PutRequest,
  ): Promise<ContainerInfo | undefined> {
    if (bucket === undefined) return Promise.resolve(container);
    return this.#containers.info(operation, trace, bucket);
  }

  /**
   * Before the body is read: what decides in a container that is not strict. In a strict one the rounds
   * decide, after the body; but who waits for `100 Continue`, or sends much, is told as soon as it is sure.
   * @throws OperatingError `not-strict`
   */
  async #mayHold(put: Put): Promise<boolean> {
    const { condition, onReady, length } = put.request;
    if (condition === undefined) return true;
    const isStrict = put.container.mode === 'strict';
    if (!isStrict) expectWeak(condition);
    const isLarge = length !== undefined && length > this.#context.limits.inlineBytes;
    if (isStrict && onReady === undefined && !isLarge) return true;
    return await this.#objects.holds(condition, put, put);
  }

  async #store(put: Put): Promise<PutResult> {
    const { request, operation, container } = put;
    const { inlineBytes } = this.#context.limits;
    if (request.length !== undefined && request.length > inlineBytes) return this.#stream(put);
    if (request.onReady !== undefined) {
      if (container.mode === 'strict') await checkReady(this.#context, put.trace, put.place);
      request.onReady();
    }
    const permits = Math.max(1, request.length ?? inlineBytes);
    const { signal } = operation;
    const release =
      this.#buffers.tryAcquire(permits) ?? (await acquire(this.#buffers, permits, signal));
    let intake: Intake;
    try {
      intake = await takeBody(request, inlineBytes, signal);
      if (intake.kind === 'whole') return await this.#write(put, intake.body, intake.etag);
    } finally {
      release();
    }
    return this.#stream(put, intake);
  }

  async #write(put: Put, plain: Buffer, etag: string): Promise<PutResult> {
    const { trace, name, own, sealer } = put;
    const body =
      sealer === undefined ? plain : Buffer.concat([...sealer.update(plain), sealer.final()]);
    const sizes = { size: plain.length, stored: body.length };
    const stateAt = stateMaker(put, etag, sizes, put.request.finish?.());
    const content = body.length > 0 ? { body } : {};
    let known: ContainerInfo | undefined = put.container;
    let former: FoundObject | undefined;
    const work = async (): Promise<Written | Refused> => {
      // Asked again when it was refused for what it is not any more.
      const container = known ?? (await this.#containers.info(put.operation, trace, name));
      known = undefined;
      if (container === undefined) throw new OperatingError('no-container', 'it went away');
      if (former !== undefined) await this.#endIn(former, container, put);
      const place = this.#placeOf(container, name);
      former = { container, place };
      const write = {
        trace,
        place,
        container,
        own,
        stateAt,
        ...content,
        ...conditionIn({ container }, put.request.condition),
      };
      const written = await writeObject(this.#context, write);
      if (written.kind === 'refused')
        await this.#containers.expectUnmoved(put.operation, trace, container);
      return written;
    };
    const written = await withFreshContainer(this.#context, this.#containers, name, () =>
      withFreshRing(this.#context, work),
    );
    return result(put, written, stateAt);
  }

  #placeOf(container: ContainerInfo, name: ObjectName): Place {
    return objectPlace(this.#context.cluster.current(), container, objectPath(name));
  }

  async #stream(put: Put, intake?: Intake): Promise<PutResult> {
    const { request, operation } = put;
    const release = await acquire(this.#streams, 1, operation.signal);
    try {
      const upload = await withFreshRing(this.#context, () => this.#openUpload(put));
      if (intake === undefined) request.onReady?.();
      try {
        const { start, rest } = intake?.kind === 'rest' ? intake : await begin(put);
        await upload.send(start, rest);
        return await this.#commit(put, upload, rest.etag(), rest.length);
      } catch (error) {
        upload.abandon(error instanceof Error ? error : new Error(String(error)));
        throw error;
      }
    } finally {
      release();
    }
  }

  async #openUpload(put: Put): Promise<StageUpload> {
    const { operation, trace, name, container, sealer } = put;
    const place = this.#placeOf(container, name);
    const kind = { mode: container.mode, length: put.request.length };
    const replicas = await uploadReplicas(this.#context, trace, place, kind);
    return new StageUpload({
      context: this.#context,
      operation,
      trace,
      place,
      ...kind,
      ...replicas,
      sealer,
      bufferBytes: this.#bufferBytes(),
    });
  }

  /** A share of what all uploads may keep together. */
  #bufferBytes(): number {
    const { streams, streamBufferBytes, streamBudgetBytes } = this.#context.limits;
    const share = streamBudgetBytes / Math.max(1, streams - this.#streams.free);
    return Math.max(MIN_BUFFER_BYTES, Math.min(streamBufferBytes, share));
  }

  async #commit(put: Put, upload: StageUpload, etag: string, size: number): Promise<PutResult> {
    const { trace, container, name, own } = put;
    const newest = await upload.finish();
    const sizes = { size, stored: upload.length };
    const stateAt = stateMaker(put, etag, sizes, put.request.finish?.());
    const written = await withFreshRing(this.#context, () => {
      const current = this.#placeOf(container, name);
      // The ring may have changed while the body came. Then those that are new to the partition get the
      // state and fetch the body, and what the old ones told of timestamps may not be the whole truth.
      const isSame = current.isLike(upload.place);
      const place = isSame ? upload.place : current.withBodiesOn(upload.holders());
      const staged = {
        stageAt: (replica: Replica) => upload.stageAt(replica),
        extra: upload.standIns(place),
      };
      const above = isSame ? newest : undefined;
      const write: ObjectWrite = { trace, place, container, own, stateAt, staged, above };
      return writeObject(this.#context, { ...write, ...conditionIn(put, put.request.condition) });
    });
    // What the condition did not let in would wait at the replicas for its expiry.
    if (written.kind === 'refused') {
      upload.abandon(new OperatingError('refused', 'not wanted'));
      await this.#containers.expectUnmoved(put.operation, trace, container);
    }
    return result(put, written, stateAt);
  }

  /** The container went away, or changed its policy, after the cache was filled. */
  async #refused(put: Put, error: unknown): Promise<PutResult> {
    const code = codeOf(error);
    if (code !== 'no-container' && code !== 'container-mismatch') throw error;
    this.#containers.forget(put.container.name);
    // What was stored may be read where the container still is: it is undecided, as any write that failed.
    if (code === 'container-mismatch') {
      const { operation, trace, container } = put;
      const now = await this.#containers
        .info(operation, trace, container.name)
        .catch(() => undefined);
      if (now !== undefined) await this.#endIn(put, now, put);
      throw error;
    }
    // What was stored would be an object that no listing shows, and that who is refused could read.
    await endQuietly(this.#context, put, put.own);
    return { kind: 'no-container', ...NOT_STORED };
  }

  /**
   * The container was made again in another policy, and nobody looks in the former any more: what was stored there would
   * come to light when the container is deleted, and its deletion forgotten.
   */
  async #endIn(
    former: FoundObject,
    now: ContainerInfo,
    { trace, own }: Pick<Put, 'trace' | 'own'>,
  ): Promise<void> {
    if (!isForeign(former.container.policy.index, now)) return;
    await endInPolicy(this.#context, { trace, ...former }, own);
  }
}

const MAX_WAITING = 10_000;

/** The accounts whose quotas count. What the store keeps for itself is nobody's. */
function payersOf({ user }: Operation, name: ObjectName, request: PutRequest): string[] {
  const payer = (request.bucket ?? name).account;
  return user === undefined || isInternal(payer) ? [payer] : [payer, userAccount(user)];
}

/**
 * Whose the object is: of a version it is the version's own entry that says so, not the link to it. Parts
 * of an upload count when they are an object.
 */
function ownerOf(
  { user }: Operation,
  { account }: ObjectName,
  { owner, version, stored }: PutRequest,
): string | undefined {
  if (owner !== undefined) return owner;
  if (version !== undefined || stored !== undefined) return undefined;
  return isInternal(account) && account !== VERSIONS_ACCOUNT ? undefined : user;
}

/** @throws OperatingError `client-gone`, `overloaded` */
async function acquire(
  semaphore: Semaphore,
  permits: number,
  signal: AbortSignal,
): Promise<Release> {
  try {
    return await semaphore.acquire(permits, signal);
  } catch (error) {
    throw signal.aborted ? clientGone(error) : error;
  }
}

/** Starts to read a body that is known to be large: nothing of it is buffered first. */
async function begin(put: Put): Promise<Extract<Intake, { kind: 'rest' }>> {
  const intake = await takeBody(put.request, -1, put.operation.signal);
  if (intake.kind === 'rest') return intake;
  throw new OperatingError('length-mismatch', 'the body is empty');
}

/** What this write stored: the rounds may have settled a later one that was built on it (seed 5). */
function result(
  { sealer, request }: Put,
  written: Written | Refused,
  stateAt: (timestamp: Timestamp) => EntryState,
): PutResult {
  if (written.kind === 'refused') return { kind: 'precondition-failed', ...NOT_STORED };
  const { ack, state } = written;
  const own = stateAt(newestTimestamp(state)).data!;
  const { clientMicros } = state.data?.writeId === own.writeId ? state.data : own;
  const { etag, size } = own;
  const encryption = sealer?.facts ?? request.manifest?.encryption;
  return {
    kind: 'stored',
    etag,
    size,
    clientMicros,
    ...(ack !== undefined && { ack }),
    ...(encryption !== undefined && { encryption }),
  };
}
