/**
 * One direction of a simulated TCP connection: bytes in order, at a link's delay and bandwidth, with a
 * window that a slow reader closes. Writes are not messages: they are joined and split on the way.
 */
import { crc32 } from 'node:zlib';
import type { Fabric } from './fabric.ts';
import type { SimSocket } from './socket.ts';

/** `end`: no more bytes. `reset`: the other side has given the connection up. */
export type Segment =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'end' }
  | { readonly kind: 'reset' };

/** Sent and not yet taken by the reader. */
const WINDOW_BYTES = 1024 * 1024;
/** Buffered by the sender before write() says false. */
const HIGH_WATER_BYTES = 256 * 1024;
const MAX_SEGMENT_BYTES = 64 * 1024;
const SPLIT_PROBABILITY = 0.1;
/** What a turn of the event loop costs: writes of one turn leave together. */
const TURN_MS = 0.005;
/** Mean wait before what was stuck behind a cut is sent again. */
const RETRANSMIT_MS = 200;
/** How long the system tries before it gives a silent connection up. */
const GIVE_UP_MS = 900_000;

export class Pipe {
  readonly #fabric: Fabric;
  readonly #from: SimSocket;
  readonly #to: SimSocket;
  readonly #extraDelayMs: number;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #unackedBytes = 0;
  /** Taken by the reader; the sender learns it at these times. */
  #acks: { readonly atMs: number; readonly bytes: number }[] = [];
  #nextFreeMs = 0;
  #lastArrivalMs = 0;
  #flushScheduled = false;
  #corked = false;
  #needsDrain = false;
  #ending = false;
  /** Arrived at a cut link or a machine without power. */
  #stuck: Segment[] = [];
  #stuckSinceMs = 0;
  #retransmitting = false;

  constructor(fabric: Fabric, from: SimSocket, to: SimSocket, extraDelayMs: number) {
    this.#fabric = fabric;
    this.#from = from;
    this.#to = to;
    this.#extraDelayMs = extraDelayMs;
  }

  get bufferedBytes(): number {
    return this.#queuedBytes;
  }

  write(bytes: Uint8Array): boolean {
    if (bytes.length > 0) this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#scheduleFlush();
    if (this.#queuedBytes > HIGH_WATER_BYTES) this.#needsDrain = true;
    return !this.#needsDrain;
  }

  cork(): void {
    this.#corked = true;
  }

  uncork(): void {
    this.#corked = false;
    this.#scheduleFlush();
  }

  /** After everything that was written. */
  end(): void {
    this.#ending = true;
    this.#corked = false;
    this.#scheduleFlush();
  }

  drop(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Puts a segment on the way, behind those that are. */
  send(segment: Segment): void {
    const { world, random } = this.#fabric;
    const [from, to] = this.#names;
    const link = this.#fabric.link(from, to);
    const length = segment.kind === 'data' ? segment.bytes.length : 0;
    const departureMs = Math.max(world.nowMs, this.#nextFreeMs) + length / link.bytesPerMs;
    this.#nextFreeMs = departureMs;
    const delayMs = this.#fabric.delayMs(from, to) + this.#extraDelayMs;
    const arrivalMs = Math.max(this.#lastArrivalMs, departureMs + delayMs);
    this.#lastArrivalMs = arrivalMs;
    if (segment.kind === 'data') {
      world.trace.mix(crc32(segment.bytes));
      if (random.chance(link.corruptProbability))
        flipBit(segment.bytes, random.integer(length * 8));
    }
    const label = `${from}>${to} ${segment.kind}`;
    const target = this.#to.host.machine;
    world.schedule(arrivalMs - world.nowMs, label, () => {
      target.whenAwake(label, () => this.#arrive(segment));
    });
  }

  /** The reader has taken so many bytes. */
  taken(bytes: number): void {
    const [from, to] = this.#names;
    const { world } = this.#fabric;
    const atMs = world.nowMs + this.#fabric.link(to, from).delayMs + this.#extraDelayMs;
    this.#acks.push({ atMs, bytes });
    if (this.#queuedBytes > 0) {
      this.#from.host.schedule(atMs - world.nowMs, 'ack', () => this.#flush());
    }
  }

  /** After a cut has healed or a machine has come back. */
  retransmit(): void {
    if (this.#queuedBytes > 0) this.#scheduleFlush();
    if (this.#stuck.length === 0 || this.#retransmitting) return;
    this.#retransmitting = true;
    const { world, random } = this.#fabric;
    world.schedule(random.delay(RETRANSMIT_MS), 'retransmit', () => {
      this.#retransmitting = false;
      const stuck = this.#stuck;
      this.#stuck = [];
      for (const segment of stuck) this.#arrive(segment);
    });
  }

  get #names(): [string, string] {
    return [this.#from.host.machine.name, this.#to.host.machine.name];
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#corked) return;
    this.#flushScheduled = true;
    this.#from.host.schedule(TURN_MS, 'flush', () => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#countAcks();
    while (this.#queuedBytes > 0 && this.#unackedBytes < WINDOW_BYTES && !this.#corked) {
      const bytes = this.#takeSegment();
      this.#unackedBytes += bytes.length;
      this.send({ kind: 'data', bytes });
    }
    if (this.#queuedBytes > 0) return;
    if (this.#ending) {
      this.#ending = false;
      this.send({ kind: 'end' });
      this.#from.endSent();
    }
    if (this.#needsDrain) {
      this.#needsDrain = false;
      this.#from.drained();
    }
  }

  /** Acknowledgements travel the other way; a cut there holds them back too. */
  #countAcks(): void {
    const [from, to] = this.#names;
    if (this.#fabric.isCut(to, from)) return;
    const { nowMs } = this.#fabric.world;
    let count = 0;
    while (count < this.#acks.length && this.#acks[count]!.atMs <= nowMs) {
      this.#unackedBytes -= this.#acks[count++]!.bytes;
    }
    this.#acks.splice(0, count);
  }

  /** A copy: what the sender does to its buffer afterwards is not seen by the reader. */
  #takeSegment(): Buffer {
    const { random } = this.#fabric;
    let limit = Math.min(this.#queuedBytes, MAX_SEGMENT_BYTES);
    if (limit > 1 && random.chance(SPLIT_PROBABILITY)) limit = 1 + random.integer(limit - 1);
    const bytes = Buffer.allocUnsafe(limit);
    let filled = 0;
    let used = 0;
    while (filled < limit) {
      const part = this.#queue[used]!;
      const fitting = part.subarray(0, limit - filled);
      bytes.set(fitting, filled);
      filled += fitting.length;
      if (fitting.length === part.length) used++;
      else this.#queue[used] = part.subarray(fitting.length);
    }
    this.#queue.splice(0, used);
    this.#queuedBytes -= limit;
    return bytes;
  }

  #arrive(segment: Segment): void {
    const [from, to] = this.#names;
    const target = this.#to.host.machine;
    if (this.#fabric.isCut(from, to) || this.#stuck.length > 0 || !target.hasPower) {
      this.#stick(segment);
    } else if (this.#to.host.alive && !this.#to.isClosed) {
      this.#to.receive(segment);
    } else if (segment.kind === 'data') {
      // Nobody is there any more: the system answers with a reset.
      this.#to.outgoing.send({ kind: 'reset' });
    }
  }

  #stick(segment: Segment): void {
    this.#stuck.push(segment);
    if (this.#stuck.length > 1) return;
    const { world } = this.#fabric;
    const sinceMs = (this.#stuckSinceMs = world.nowMs);
    this.#from.host.schedule(GIVE_UP_MS, 'tcp timeout', () => {
      if (this.#stuck.length > 0 && this.#stuckSinceMs === sinceMs) this.#from.fail('ETIMEDOUT');
    });
  }
}

function flipBit(bytes: Buffer, bit: number): void {
  bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
}
