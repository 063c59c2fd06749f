/**
 * A large body on its way to its replicas: staged at all of them in parallel while the client sends
 * it, in bounded memory, its MD5 taken while passing. It becomes current only by the commit that
 * follows; whatever goes wrong before leaves nothing behind. How many must have it is the mode's promise
 * (write-round.ts); who they are, upload-replicas.ts says.
 *
 * Where devices die midway and too few are left, the body still goes on to one that lives, outside of
 * `strict` (there stand-ins don't count): at the end, stand-ins are given what that one has staged.
 */

import { type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { StageArgs, StagedArgs, StageReply } from '#object/calls.ts';
import type { BodySource } from './body-intake.ts';
import { type ProxyContext, throwIfGone, unavailable } from './context.ts';
import type { Operation } from './contract.ts';
import type { Sealer } from './encryption/encryption.ts';
import { type Channel, FanOut } from './fan-out.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';
import { asStageReply } from './replies.ts';
import type { Trace } from './trace.ts';
import { spareReplicas, type UploadKind, type UploadReplicas } from './upload-replicas.ts';
import { hasLocalCopies } from './write-round.ts';

interface Staging {
  readonly replica: Replica;
  /** What comes from the client; a stand-in of the last moment gets its bytes from another device. */
  readonly channel?: Channel;
  readonly reply: Promise<StageReply>;
  state: 'open' | 'staged' | 'failed';
}

export interface UploadOptions extends UploadKind, UploadReplicas {
  readonly context: ProxyContext;
  readonly operation: Operation;
  readonly trace: Trace;
  readonly place: Place;
  /** Encrypts what is sent; hashes and lengths are of the plain bytes. */
  readonly sealer: Sealer | undefined;
  /** What it may keep for the slowest replica that it still follows. */
  readonly bufferBytes: number;
}

export class StageUpload {
  readonly #options: UploadOptions;
  readonly #fanOut: FanOut;
  readonly #stagings: Staging[];
  readonly #codes: string[] = [];
  #length = 0;
  #wake: (() => void) | undefined;
  /** Who can still take the place of one that has failed. */
  #spares: Replica[] | undefined;

  constructor(options: UploadOptions) {
    const { bufferBytes, context } = options;
    const { env, limits, metrics } = context;
    this.#options = options;
    this.#fanOut = new FanOut({
      env,
      bufferBytes,
      stallMs: limits.stallMs,
      mayDrop: (channel) => this.#suffices(this.#left(channel)),
      onDrop: (channel) => {
        metrics.count('stream-dropped');
        env.log.warn('upload.replica-dropped', { txn: options.trace.txn, device: channel.device });
      },
    });
    this.#stagings = options.replicas.map((replica) => this.#open(replica, true));
    for (const follower of options.followers) this.#follow(follower);
  }

  /** By the ring as it was when the upload began. */
  get place(): Place {
    return this.#options.place;
  }

  /** Sends the whole body. @throws OperatingError (nothing is left behind) */
  async send(start: readonly Uint8Array[], source: BodySource): Promise<void> {
    for (const chunk of start) await this.#push(chunk, source);
    for (;;) {
      const chunk = await source.next();
      if (chunk === undefined) break;
      await this.#push(chunk, source);
    }
    const { sealer, operation } = this.#options;
    if (sealer !== undefined) await this.#send(sealer.final());
    throwIfGone(operation);
  }

  /** Bytes as they are stored. */
  get length(): number {
    return this.#length;
  }

  /**
   * Ends the bodies and waits until enough replicas have staged. The newest timestamp that a majority
   * of complete replicas told, which the write goes above; undefined where too few of them could tell.
   */
  async finish(): Promise<Timestamp | undefined> {
    this.#fanOut.end();
    while (!this.#isEnough()) {
      this.#makeUp();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#newest();
  }

  async #newest(): Promise<Timestamp | undefined> {
    const { place } = this.#options;
    const told = new Set<number>();
    let newest: Timestamp = ZERO_TIMESTAMP;
    for (const { state, replica, reply } of this.#stagings) {
      if (state !== 'staged') continue;
      const answer = await reply;
      if (answer.newest > newest) newest = answer.newest;
      if (place.quorum.countsIn(replica.member, answer.complete)) told.add(replica.member);
    }
    return place.quorum.isWrite(told) ? newest : undefined;
  }

  /** The stage at a replica, when it has finished; rejects where it failed. */
  async stageAt(replica: Replica): Promise<string> {
    const staging = this.#stagings.find((known) => known.replica.member === replica.member);
    if (staging === undefined) throw unavailable('no stage at this replica');
    return (await staging.reply).stage;
  }

  /** Members that have the body, or will. */
  holders(): ReadonlySet<number> {
    return new Set(this.#left().map(({ replica }) => replica.member));
  }

  /** Those of the replicas that are no primaries of this place. */
  standIns(place: Place): Replica[] {
    const primaries = new Set(place.primaries.map((replica) => replica.member));
    const replicas = this.#left().map(({ replica }) => replica);
    return replicas.filter((replica) => !primaries.has(replica.member));
  }

  /** Discards everything everywhere. */
  abandon(error: Error): void {
    this.#fanOut.abort(error);
    const { context, trace } = this.#options;
    for (const { replica, reply } of this.#stagings) {
      reply
        .then(({ stage }) => {
          const args = { device: replica.device, stage };
          const options = { ringVersion: 0, deadlineMs: context.limits.readDeadlineMs };
          return context.calls.call(trace, replica, 'object.abandon', args, options);
        })
        .catch(() => undefined); // the stage failed already, or expires by itself
    }
  }

  async #push(chunk: Uint8Array, source: BodySource): Promise<void> {
    source.hash(chunk);
    const { sealer } = this.#options;
    const pieces = sealer === undefined ? [chunk] : sealer.update(chunk);
    for (const piece of pieces) await this.#send(piece);
  }

  async #send(piece: Uint8Array): Promise<void> {
    if (!this.#suffices(this.#left()) && !this.#canBeMadeUp())
      throw unavailable('upload', this.#codes);
    this.#length += piece.length;
    await this.#fanOut.push(piece);
  }

  /** Within the device's share of what it has not answered: nothing else slows who sends to it. */
  #follow(replica: Replica): void {
    const { context, length = 0 } = this.#options;
    const { peers, limits } = context;
    const { device } = replica;
    if (!peers.reserve(device, length, limits.outstandingBytes)) return;
    const staging = this.#open(replica, false);
    this.#stagings.push(staging);
    const release = (): void => peers.release(device, length);
    staging.reply.then(release, release);
  }

  #open(replica: Replica, isAwaited: boolean): Staging {
    const channel = this.#fanOut.open(replica.device, isAwaited);
    const reply = this.#stage(replica, channel);
    return this.#watch({ replica, channel, reply, state: 'open' });
  }

  #watch(staging: Staging): Staging {
    staging.reply.then(
      () => this.#settled(staging, 'staged'),
      (error: unknown) => {
        this.#codes.push(failureCode(error));
        if (staging.channel !== undefined) this.#fanOut.close(staging.channel);
        this.#settled(staging, 'failed');
      },
    );
    return staging;
  }

  /** Stand-ins for those that failed, as soon as one has the body whole. @throws OperatingError */
  #makeUp(): void {
    const whole = this.#stagings.find(({ state }) => state === 'staged');
    while (!this.#suffices(this.#left())) {
      if (!this.#canBeMadeUp()) throw unavailable('upload', this.#codes);
      if (whole === undefined) return;
      this.#copy(whole, this.#spared().shift()!);
    }
  }

  #copy(whole: Staging, replica: Replica): void {
    const { context, trace } = this.#options;
    context.metrics.count('stream-made-up');
    const facts = { txn: trace.txn, device: replica.device, from: whole.replica.device };
    context.env.log.info('upload.made-up', facts);
    const reply = this.#stage(replica, this.#again(whole));
    this.#stagings.push(this.#watch({ replica, reply, state: 'open' }));
  }

  async *#again({ replica, reply }: Staging): AsyncGenerator<Uint8Array> {
    const { context, trace } = this.#options;
    const { stage } = await reply;
    const args: StagedArgs = { device: replica.device, stage };
    const { ringVersion } = replica;
    const deadlineMs = context.limits.streamDeadlineMs;
    const options = { ringVersion, deadlineMs, lane: 'bulk' as const };
    const { body } = await context.calls.call(trace, replica, 'object.staged', args, options);
    if (body === undefined) throw unavailable('no body of the stage');
    yield* body;
  }

  #spared(): Replica[] {
    const { context, place } = this.#options;
    const asked = this.#stagings.map(({ replica }) => replica);
    this.#spares ??= spareReplicas(context, place, asked);
    return this.#spares;
  }

  #settled(staging: Staging, state: 'staged' | 'failed'): void {
    staging.state = state;
    this.#wake?.();
    this.#wake = undefined;
  }

  async #stage(replica: Replica, body: AsyncIterable<Uint8Array>): Promise<StageReply> {
    const { context, trace, place } = this.#options;
    const { ringVersion } = replica;
    const args: StageArgs = { ...addressOf(place, replica), path: place.path };
    const { result } = await context.calls.call(trace, replica, 'object.stage', args, {
      ringVersion,
      deadlineMs: context.limits.streamDeadlineMs,
      body,
    });
    return asStageReply(result);
  }

  #left(without?: Channel): Staging[] {
    return this.#stagings.filter(
      ({ state, channel }) => state !== 'failed' && (without === undefined || channel !== without),
    );
  }

  /** One has the body, or will, and there is somebody to copy it to. */
  #canBeMadeUp(): boolean {
    if (this.#options.mode === 'strict') return false;
    return this.#left().length > 0 && this.#spared().length > 0;
  }

  #isEnough(): boolean {
    return this.#suffices(this.#stagings.filter(({ state }) => state === 'staged'));
  }

  #suffices(stagings: readonly Staging[]): boolean {
    const { mode, place, context } = this.#options;
    const replicas = stagings.map(({ replica }) => replica);
    if (mode === 'local' && hasLocalCopies(replicas, context.self.site)) return true;
    if (!place.hasBodies(replicas)) return false;
    if (mode !== 'strict') return true;
    const members = new Set(replicas.map(({ member }) => member));
    for (const { holdsBody, member } of place.primaries) if (!holdsBody) members.add(member);
    return place.quorum.isWrite(members);
  }
}
