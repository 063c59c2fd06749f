/**
 * One seed of conditional writes: clients at all sites take locks, raise versions, delete and overwrite a
 * few keys while things go wrong; then every history must be linearizable (rounds-history.ts).
 */
import { codeOf, OperatingError } from '#base/errors.ts';
import type { Prng } from '#env/sim/prng.ts';
import { SimWorld } from '#env/sim/world.ts';
import { type Condition, IF_ABSENT, IF_PRESENT, ifMatch } from '#proxy/condition.ts';
import type { ObjectReader, Operation } from '#proxy/contract.ts';
import { type Process, SimCluster, type SimNode } from './cluster.ts';
import { bytesOf, makeContent, typeOf, writeOf } from './content.ts';
import { Violation } from './model.ts';
import { Nemesis } from './nemesis.ts';
import { Observer } from './observer.ts';
import { drawPlan, FAULTS } from './plan.ts';
import {
  type Action,
  type Call,
  describeCalls,
  type Guard,
  isUntold,
  judge,
  type Result,
  type Version,
} from './rounds-history.ts';
import type { RunOptions, RunResult } from './run.ts';
import { ACCOUNT } from './session.ts';
import { drawSmallShape } from './shape.ts';
import { Tap } from './tap.ts';

const MAX_EVENTS = 3_000_000;
const TAG = 'x-object-meta-tag';
const BOX = { account: ACCOUNT, container: 'locks' };
/** So long that a healthy cluster has answered everything and is whole again. */
const QUIET_MS = 10_000;
const FINAL_TRIES = 60;
const READ: Action = { kind: 'read', isWhole: true };
const PUT = { kind: 'put', guard: { kind: 'always' } } as const;
/** What a client may be told; anything else is a bug. */
const EXPECTED = new Set(['unavailable', 'undecided', 'overloaded', 'clock-drift', 'client-gone']);

export function runRoundsSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  return new RoundsRun(seed, options).result();
}

class RoundsRun {
  readonly #seed: number;
  readonly #world: SimWorld;
  readonly #cluster: SimCluster;
  readonly #nemesis: Nemesis;
  readonly #observer: Observer;
  readonly #random: Prng;
  readonly #keys: readonly KeyHistory[];
  readonly #chaosMs: number;
  readonly #tally: Record<string, number> = {};
  /** Paths of keys that could not be read before they were written again. */
  readonly #orphans = new Set<string>();
  #policy = 0;
  #rejection: unknown;
  #events = 0;
  #nextValue = 1;

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    this.#world = new SimWorld({ seed, maxEvents: MAX_EVENTS });
    this.#random = this.#world.random('rounds');
    const shape = drawSmallShape(this.#world);
    const drawn = options.faults ?? FAULTS.filter(() => this.#random.chance(0.4));
    const { hasSkew } = shape;
    const { intensity = 1 } = options;
    const plan = drawPlan(this.#world.random('plan'), { hasSkew, only: drawn, intensity });
    this.#cluster = new SimCluster(this.#world, shape, new Tap(), plan.clockErrorMs);
    this.#nemesis = new Nemesis(this.#cluster, this.#world.random('nemesis'), plan);
    this.#observer = new Observer(this.#cluster);
    this.#chaosMs = 5_000 + this.#random.integer(15_000);
    this.#keys = Array.from({ length: 1 + this.#random.integer(3) }, (_, i) => {
      return new KeyHistory(`lock${i}`);
    });
  }

  async result(): Promise<RunResult> {
    const onRejection = (reason: unknown): void => {
      // What a dead process still had under way ends nowhere.
      if (codeOf(reason) !== 'EPROCESSENDED') this.#rejection ??= reason;
    };
    process.on('unhandledRejection', onRejection);
    let failure: RunResult['failure'];
    try {
      await this.#world.run(this.#play());
      await new Promise((resolve) => setImmediate(resolve));
      this.#check();
    } catch (error) {
      failure = this.#failure(error);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    return {
      seed: this.#seed,
      traceHash: this.#world.traceHash(),
      virtualMs: this.#world.nowMs,
      events: this.#world.eventCount,
      operations: this.#tally,
      faults: this.#nemesis.done,
      orphans: this.#orphans.size,
      failure,
    };
  }

  async #play(): Promise<void> {
    await this.#cluster.create();
    await this.#createBox();
    const endMs = this.#world.nowMs + this.#chaosMs;
    this.#nemesis.start();
    const clients = 2 + this.#random.integer(6);
    await Promise.all(Array.from({ length: clients }, () => this.#client(endMs)));
    this.#nemesis.stop();
    await this.#sleep(QUIET_MS);
    this.#nemesis.mend();
    for (const node of this.#cluster.nodes) {
      for (const key of this.#keys) await this.#finalRead(node, key);
    }
  }

  async #createBox(): Promise<void> {
    const { policies } = this.#cluster.shape.view;
    this.#policy = policies[this.#random.integer(policies.length)]!.index;
    for (let made: string | undefined; made === undefined; await this.#sleep(200)) {
      const { process: up } = this.#cluster.nodes[0]!;
      const options = { policy: this.#policy, mode: 'strict' as const, changes: {} };
      made = await up?.proxy.createContainer(operation(), BOX, options).catch(() => undefined);
    }
  }

  /** One client: what it saw last of a key is what its conditions speak of. */
  async #client(endMs: number): Promise<void> {
    const seen = new Map<KeyHistory, number>();
    const thinkMs = 5 + this.#random.integer(200);
    while (this.#world.nowMs < endMs && this.#rejection === undefined) {
      await this.#sleep(this.#random.delay(thinkMs));
      const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
      const node = up[this.#random.integer(Math.max(1, up.length))];
      if (node === undefined) continue;
      const key = this.#keys[this.#random.integer(this.#keys.length)]!;
      const result = await this.#do(node, key, this.#draw(seen.get(key)));
      if (result.kind === 'read') {
        if (result.version === undefined) seen.delete(key);
        else seen.set(key, result.version.value);
      }
    }
  }

  #draw(seen: number | undefined): Action {
    const dice = this.#random.float();
    if (dice < 0.3) return { kind: 'read', isWhole: dice < 0.1 };
    const match: Guard = seen === undefined ? { kind: 'absent' } : { kind: 'match', value: seen };
    const value = this.#nextValue++;
    if (dice < 0.5) return { kind: 'put', value, guard: { kind: 'absent' } };
    if (dice < 0.65) return { kind: 'put', value, guard: match };
    if (dice < 0.72) return { kind: 'put', value, guard: { kind: 'always' } };
    if (dice < 0.82) return { kind: 'delete', guard: match };
    if (dice < 0.9) return { kind: 'delete', guard: { kind: 'always' } };
    if (dice < 0.95) return { kind: 'post', value, guard: { kind: 'always' } };
    return { kind: 'post', value, guard: { kind: 'present' } };
  }

  async #do(node: SimNode, key: KeyHistory, action: Action): Promise<Result> {
    const call: Call = {
      action,
      via: node.name,
      called: this.#events++,
      answered: undefined,
      result: undefined,
    };
    key.calls.push(call);
    const { process: up } = node;
    if (up === undefined) return (call.result = { kind: 'maybe' });
    const lost = up.ended.then((): Result => ({ kind: 'maybe' }));
    const result = await Promise.race([this.#perform(up, key, action), lost]);
    call.answered = this.#events++;
    call.result = result;
    const name = `${action.kind}:${result.kind}`;
    this.#tally[name] = (this.#tally[name] ?? 0) + 1;
    return result;
  }

  async #perform({ proxy }: Process, key: KeyHistory, action: Action): Promise<Result> {
    try {
      switch (action.kind) {
        case 'read':
          return { kind: 'read', version: await this.#read(proxy, key, action.isWhole) };
        case 'put':
          return await this.#put(proxy, key, action.value, action.guard);
        case 'delete': {
          const condition = key.conditionOf(action.guard);
          const told = await proxy.deleteObject(operation(), key.name, condition);
          if (told === 'precondition-failed') return { kind: 'refused' };
          if (told === 'no-container') throw new Violation('honest 404', 'no container', key.path);
          if (condition === undefined) return { kind: 'done' };
          return { kind: 'done', wasLive: told === 'deleted' };
        }
        case 'post':
          return await this.#post(proxy, key, action.value, action.guard);
      }
    } catch (error) {
      if (error instanceof OperatingError && EXPECTED.has(error.code)) return { kind: 'maybe' };
      if (error instanceof Violation) throw error;
      const text = error instanceof Error ? error.stack : String(error);
      throw new Violation('clear errors', `a client is told: ${text}`, key.path);
    }
  }

  async #read(
    proxy: Process['proxy'],
    key: KeyHistory,
    isWhole = false,
  ): Promise<Version | undefined> {
    const reader = isWhole ? await proxy.openObject(operation('newest'), key.name) : undefined;
    const state = isWhole ? reader?.state : await proxy.statObject(operation('newest'), key.name);
    if (state === undefined) return undefined;
    const value = writeOf(state.data?.contentType ?? '');
    if (value === undefined) throw new Violation('one version', 'no write of ours', key.path);
    if (reader !== undefined) await checkBytes(reader, value, key);
    return { value, tag: Number(state.groups['user']?.values[TAG] ?? value) };
  }

  async #put(
    proxy: Process['proxy'],
    key: KeyHistory,
    value: number,
    guard: Guard,
  ): Promise<Result> {
    // Small ones travel in the calls, larger ones are staged first.
    const size = 1 + this.#random.integer(this.#random.chance(0.15) ? 20_000 : 200);
    const content = makeContent(value, size);
    key.etags.set(value, content.etag);
    const condition = key.conditionOf(guard);
    const told = await proxy.putObject(operation(), key.name, {
      body: bodyOf(value, size),
      length: size,
      maxLength: 2 ** 30,
      contentType: typeOf(value),
      user: { [TAG]: String(value) },
      system: {},
      ...(condition && { condition }),
    });
    if (told.kind === 'precondition-failed') return { kind: 'refused' };
    if (told.kind !== 'stored') throw new Violation('honest 404', 'no container', key.path);
    return { kind: 'done' };
  }

  /** That nothing is there, a majority says before the rounds begin: it proves nothing. */
  async #post(
    proxy: Process['proxy'],
    key: KeyHistory,
    value: number,
    guard: Guard,
  ): Promise<Result> {
    const change = { user: { [TAG]: String(value) }, system: {}, deleteAt: null };
    const condition = key.conditionOf(guard);
    const told = await proxy.updateObject(operation(), key.name, change, condition);
    return { kind: told === 'updated' ? 'done' : 'maybe' };
  }

  /** An orphan is written anew, once: then it is there like everything else. */
  async #finalRead(node: SimNode, key: KeyHistory): Promise<void> {
    if (await this.#becomes(node, key, () => READ)) return;
    if (!this.#orphans.has(key.path) && (await this.#isOrphan(key))) {
      this.#orphans.add(key.path);
      const anew = (): Action => ({ ...PUT, value: this.#nextValue++ });
      const isWritten = await this.#becomes(node, key, anew);
      if (isWritten && (await this.#becomes(node, key, () => READ))) return;
    }
    throw new Violation('kept', `long after the faults: no read of ${key.path}`, key.path);
  }

  /** True: it was answered, at last. */
  async #becomes(node: SimNode, key: KeyHistory, action: () => Action): Promise<boolean> {
    for (let tries = 0; tries < FINAL_TRIES; tries++) {
      if (node.process !== undefined) {
        const result = await this.#do(node, key, action());
        if (result.kind !== 'maybe') return true;
      }
      await this.#sleep(2_000);
      this.#nemesis.mend();
    }
    return false;
  }

  /** What nobody was told of, and nobody has the body of, as ordinary runs know it (README, "Known"). */
  async #isOrphan({ path, calls, writeAt }: KeyHistory): Promise<boolean> {
    const isKnown = calls.some(isAcknowledged);
    const further = { policy: this.#policy, containers: [], objects: [{ path, isKnown, writeAt }] };
    const orphans = new Set<string>();
    await this.#observer.differencesOf(further, orphans);
    return orphans.has(path);
  }

  #check(): void {
    if (this.#rejection !== undefined) {
      const { stack } = this.#rejection as Error;
      throw new Violation('no unhandled rejection', stack ?? String(this.#rejection));
    }
    for (const key of this.#keys) {
      const judgement = judge(key.calls);
      this.#tally[judgement] = (this.#tally[judgement] ?? 0) + 1;
      if (judgement !== 'violated') continue;
      throw new Violation('linearizable', `no order explains the history of ${key.path}`, key.path);
    }
  }

  #failure(error: unknown): NonNullable<RunResult['failure']> {
    const promise = error instanceof Violation ? error.promise : 'no crash';
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const calls = this.#keys.flatMap((key) => ['', key.path, ...describeCalls(key.calls)]);
    const nodes = this.#cluster.shape.nodes.map(({ name, devices }) => `${name}(${devices})`);
    const report = [`nodes: ${nodes.join(' ')}`, ...calls, this.#world.describe(2_000)].join('\n');
    return { promise, message, report };
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#world.schedule(ms, 'client', resolve);
    });
  }
}

class KeyHistory {
  readonly path: string;
  readonly name: typeof BOX & { readonly object: string };
  readonly calls: Call[] = [];
  readonly etags = new Map<number, string>();

  constructor(object: string) {
    this.name = { ...BOX, object };
    this.path = `/${BOX.account}/${BOX.container}/${object}`;
  }

  /** The put whose content type this is. */
  readonly writeAt = (contentType: string) => {
    const id = writeOf(contentType);
    const put = this.calls.find(({ action }) => action.kind === 'put' && action.value === id);
    if (put === undefined || id === undefined) return undefined;
    return { id, outcome: isUntold(this.calls, put) ? 'undecided' : 'full' };
  };

  /** Undefined: a plain write. */
  conditionOf(guard: Guard): Condition | undefined {
    switch (guard.kind) {
      case 'always':
        return undefined;
      case 'absent':
        return IF_ABSENT;
      case 'present':
        return IF_PRESENT;
      case 'match':
        return ifMatch(this.etags.get(guard.value) ?? 'none');
    }
  }
}

async function checkBytes(reader: ObjectReader, value: number, { path }: KeyHistory) {
  const chunks: Buffer[] = [];
  for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes.length === reader.length && bytes.equals(bytesOf(value, 0, bytes.length))) return;
  throw new Violation('one version', `wrong bytes of put ${value}`, path);
}

/** A put or a deletion. */
function isAcknowledged({ action: { kind }, result }: Call): boolean {
  return (kind === 'put' || kind === 'delete') && result?.kind === 'done';
}

function operation(read: Operation['read'] = 'quorum'): Operation {
  return { txn: 'tx', signal: new AbortController().signal, read };
}

async function* bodyOf(value: number, size: number): AsyncGenerator<Uint8Array> {
  yield bytesOf(value, 0, size);
}
