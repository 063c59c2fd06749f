/** One seed: makes a cluster, lets clients work while things go wrong, heals, and checks what is left. */
import { codeOf } from '#base/errors.ts';
import { accountPath, containerPath } from '#base/names.ts';
import { SimWorld } from '#env/sim/world.ts';
import { Autopsy } from './autopsy.ts';
import { Bounds } from './bounds.ts';
import { SimCluster } from './cluster.ts';
import { FinalChecks } from './final-checks.ts';
import { Violation } from './model.ts';
import { Multipart } from './multipart.ts';
import { Nemesis } from './nemesis.ts';
import { Observer } from './observer.ts';
import { drawPlan, drawReclaimAge, type Extra, type Fault } from './plan.ts';
import { PolicyMoves } from './policy-moves.ts';
import { ACCOUNT, type Tally } from './session.ts';
import { drawShape, drawSmallShape } from './shape.ts';
import { Tap } from './tap.ts';
import { VersionChecks } from './version-checks.ts';
import { Versions } from './versions.ts';
import { Workload } from './workload.ts';

export interface RunOptions {
  /** Only these kinds of faults, all of them on. */
  readonly faults?: readonly Fault[];
  /** How many times more of them than usual. */
  readonly intensity?: number;
  /** A fifth of the time with as many faults, and a small cluster. */
  readonly brief?: boolean;
  /** What else is done. */
  readonly extras?: readonly Extra[];
  /** Conditional writes (rounds-run.ts) instead of everything. */
  readonly rounds?: boolean;
}

export interface RunResult {
  readonly seed: number;
  readonly traceHash: string;
  readonly virtualMs: number;
  readonly events: number;
  readonly operations: Tally;
  readonly faults: Partial<Record<Fault, number>>;
  /** Keys whose newest, unacknowledged write has no body any more. */
  readonly orphans: number;
  readonly failure: Failure | undefined;
}

export interface Failure {
  readonly promise: string;
  readonly message: string;
  /** The key's history, the end of the log. */
  readonly report: string;
}

/** Within this after the last fault every replica is whole again. */
const CONVERGENCE_LIMIT_MS = 15 * 60_000;
/** From then on somebody has the auditors read everything: what is damaged, and nobody has read, they find. */
const AUDIT_AFTER_MS = 10 * 60_000;
const LOOK_MS = 2_500;
const FIRST_SWEEP_MS = 5_000;
const MAX_SWEEP_MS = 120_000;
/** A body that nobody has for so long, while all else is equal, will not come. */
const ORPHAN_MS = 60_000;
const RETRIES = 50;
/** The retries before which all nodes start anew: at once, and when everything is old enough to be judged, on every clock. */
const LAST_RESTART = 42;
const RESTART_RETRIES: readonly number[] = [8, LAST_RESTART];
const AUDIT_RETRIES: readonly number[] = [20, 45];
const MAX_RETRY_MS = 20_000;
const BOUNDS_MS = 1_000;
const REST_MS = 5_000;
/** More than the grace after a delete-at, and all that clocks may differ. */
const EXPIRY_MS = 12 * 3_600_000;
const MAX_EVENTS = 3_000_000;
/** A container needs as long to change its policy. */
const MOVES_MS = 50_000;

export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const run = new Run(seed, options);
  return run.result();
}

class Run {
  readonly #seed: number;
  readonly #world: SimWorld;
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #nemesis: Nemesis;
  readonly #observer: Observer;
  readonly #bounds: Bounds;
  readonly #moves: PolicyMoves | undefined;
  readonly #uploads: Multipart | undefined;
  readonly #versions: Versions | undefined;
  readonly #versionChecks: VersionChecks | undefined;
  readonly #chaosMs: number;
  readonly #clients: number;
  readonly #thinkMs: number;
  readonly #expires: boolean;
  #rejection: unknown;
  readonly #orphans = new Set<string>();
  #sweeps = 0;

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    this.#world = new SimWorld({ seed, maxEvents: MAX_EVENTS });
    const shape = options.brief
      ? drawSmallShape(this.#world)
      : drawShape(this.#world.random('shape'));
    const { faults: only, ...more } = options;
    const { hasSkew } = shape;
    const plan = drawPlan(this.#world.random('plan'), { ...more, ...(only && { only }), hasSkew });
    const reclaimAge = drawReclaimAge(this.#world.random('reclaim'), plan);
    this.#cluster = new SimCluster(this.#world, shape, new Tap(), plan.clockErrorMs, reclaimAge);
    const { extras = [] } = options;
    const hasMoves = extras.includes('moves');
    this.#workload = new Workload({
      ...plan,
      // One at least can move, and take uploads.
      ...((hasMoves || extras.includes('uploads')) && {
        modes: ['strict', ...plan.modes],
        churns: plan.churns && plan.boxes > 1,
      }),
      cluster: this.#cluster,
      random: this.#world.random('workload'),
    });
    this.#nemesis = new Nemesis(this.#cluster, this.#world.random('nemesis'), plan);
    this.#observer = new Observer(this.#cluster);
    this.#bounds = new Bounds(this.#cluster);
    this.#cluster.hasBucketJobs = hasMoves;
    this.#uploads = extras.includes('uploads')
      ? new Multipart(this.#cluster, this.#workload, this.#world.random('uploads'))
      : undefined;
    this.#versions = extras.includes('versions')
      ? new Versions(this.#cluster, this.#workload, this.#world.random('versions'))
      : undefined;
    this.#versionChecks = this.#versions && new VersionChecks(this.#cluster, this.#versions);
    this.#moves = hasMoves
      ? new PolicyMoves(this.#cluster, this.#workload, this.#world.random('moves'))
      : undefined;
    this.#chaosMs =
      plan.chaosMs + (hasMoves ? this.#world.random('moves time').float() * MOVES_MS : 0);
    this.#clients = plan.clients;
    this.#thinkMs = plan.thinkMs;
    this.#expires = plan.expires;
  }

  async result(): Promise<RunResult> {
    const onRejection = (reason: unknown): void => {
      // What a dead process still had under way ends nowhere.
      if (codeOf(reason) !== 'EPROCESSENDED') this.#rejection ??= reason;
    };
    process.on('unhandledRejection', onRejection);
    let failure: Failure | undefined;
    try {
      await this.#world.run(this.#play());
      await new Promise((resolve) => setImmediate(resolve));
      this.#checkRejection();
    } catch (error) {
      failure = await this.#failure(error);
    } finally {
      process.off('unhandledRejection', onRejection);
      this.#world.dispose();
    }
    return {
      seed: this.#seed,
      traceHash: this.#world.traceHash(),
      virtualMs: this.#world.nowMs,
      events: this.#world.eventCount,
      operations: this.#workload.session.tally,
      faults: this.#nemesis.done,
      orphans: this.#orphans.size,
      failure,
    };
  }

  async #play(): Promise<void> {
    await this.#cluster.create();
    await this.#workload.create();
    await this.#versions?.create();
    await this.#chaos();
    await this.#converge();
    for (const { keys } of this.#workload.boxes) for (const model of keys) model.raisePartial();
    await this.#checkAll();
    await this.#becomes(async () => this.#moves?.leftovers());
    await this.#becomes(async () => this.#uploads?.leftovers(this.#orphans));
    await this.#becomes(async () => this.#versionChecks?.isKept(), 'versions: kept');
    await this.#becomes(async () => this.#versionChecks?.leftovers());
    await this.#becomes(async () => this.#versionChecks?.end());
    await this.#workload.session.sleep(REST_MS);
    this.#bounds.check(true);
  }

  async #chaos(): Promise<void> {
    const endMs = this.#world.nowMs + this.#chaosMs;
    const isOver = (): boolean => this.#world.nowMs >= endMs || this.#rejection !== undefined;
    this.#nemesis.start();
    await Promise.all([
      this.#watchBounds(isOver),
      this.#moves?.operator(isOver),
      this.#uploads?.client(isOver, this.#thinkMs),
      this.#uploads?.sweeps(isOver),
      ...(this.#versions?.clients(isOver, this.#thinkMs) ?? []),
      ...Array.from({ length: this.#clients }, () => this.#workload.client(isOver, this.#thinkMs)),
    ]);
    this.#checkRejection();
    this.#nemesis.stop();
    // What expires has expired then, on every clock, and its grace is over.
    if (this.#expires) this.#cluster.passTime(EXPIRY_MS);
  }

  async #watchBounds(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      this.#bounds.check(false);
      await this.#workload.session.sleep(BOUNDS_MS);
    }
  }

  /**
   * Until all is equal; everything is read again and again, ever less often, so that what reads find
   * stale is repaired. An orphan is one that stays: bodies may still be on their way.
   */
  async #converge(): Promise<void> {
    const { session } = this.#workload;
    const startMs = this.#world.nowMs;
    let sweepMs = startMs + FIRST_SWEEP_MS;
    let orphanMs = Number.POSITIVE_INFINITY;
    for (;;) {
      await session.sleep(LOOK_MS);
      const { nowMs } = this.#world;
      const isSweep = nowMs >= sweepMs;
      if (isSweep) this.#nemesis.mend();
      const differences = await this.#differences(startMs);
      this.#checkRejection();
      if (differences.length > 0) orphanMs = Number.POSITIVE_INFINITY;
      else if (this.#orphans.size === 0 || nowMs >= orphanMs + ORPHAN_MS) return;
      else orphanMs = Math.min(orphanMs, nowMs);
      if (!isSweep) continue;
      if (nowMs > startMs + AUDIT_AFTER_MS) this.#auditAll();
      await this.#readAll();
      sweepMs = nowMs + Math.min(MAX_SWEEP_MS, nowMs - startMs);
      if (nowMs > startMs + CONVERGENCE_LIMIT_MS) {
        throw new Violation('converges', `after the faults ended: ${differences.join('; ')}`);
      }
    }
  }

  async #differences(sinceMs: number): Promise<string[]> {
    const { rings } = this.#nemesis;
    const moving = (await this.#moves?.differences(sinceMs)) ?? [];
    if (moving.length > 0) return moving;
    const found = await this.#observer.differences(this.#workload, this.#orphans);
    const versions = (await this.#versionChecks?.differences(this.#observer)) ?? [];
    return [...rings.differences(), ...found, ...versions];
  }

  async #readAll(): Promise<void> {
    const { nodes } = this.#cluster;
    const node = nodes[this.#sweeps++ % nodes.length]!;
    for (const box of this.#workload.boxes) {
      // Objects of a container that is gone are not read, so not repaired by reads either.
      if (box.churn !== undefined) await this.#workload.ensure(node, box);
      for (const model of box.keys) await this.#workload.reads.get(node, box, model, 'newest');
    }
    await this.#versionChecks?.readAll(node);
  }

  /** Everything is there, for everybody. */
  async #checkAll(): Promise<void> {
    const { boxes, reads, listings, session } = this.#workload;
    const checks = new FinalChecks(session);
    for (const node of this.#cluster.nodes) {
      for (const box of boxes) {
        for (const model of box.keys) {
          if (this.#orphans.has(model.key)) continue;
          await this.#kept(`get ${model.key} via ${node.name}`, () => reads.get(node, box, model));
        }
        const list = () => listings.list(node, box, true);
        // Of what was acknowledged in part the row may have been on one replica alone, and gone with it (promise 9).
        if (box.mode === 'strict') await this.#kept(`list ${box.name} via ${node.name}`, list);
        await this.#becomes(() => checks.listingShowsObjects(node, box, this.#orphans));
        await this.#kept(`list ${box.name} via ${node.name}`, list);
      }
      await this.#becomes(() => checks.totalsAddUp(node, boxes));
    }
  }

  async #kept(what: string, attempt: () => Promise<boolean>): Promise<void> {
    await this.#becomes(async () => ((await attempt()) ? undefined : `${what} fails`), 'kept');
  }

  /** `check` says what is wrong, for a while. */
  async #becomes(check: () => Promise<string | undefined>, promise = 'converges'): Promise<void> {
    for (let i = 0; ; i++) {
      const wrong = await check();
      if (wrong === undefined) return;
      if (i === LAST_RESTART) this.#cluster.passTime(EXPIRY_MS);
      if (RESTART_RETRIES.includes(i)) this.#restartAll();
      if (AUDIT_RETRIES.includes(i)) this.#auditAll();
      if (i >= RETRIES) throw new Violation(promise, `long after the faults ended: ${wrong}`);
      await this.#workload.session.sleep(Math.min(1_000 * (i + 1), MAX_RETRY_MS));
    }
  }

  /** What the auditors of listings come to within a day, they also do after a start. */
  #restartAll(): void {
    for (const node of this.#cluster.nodes) {
      node.kill();
      node.start();
    }
  }

  /** What auditors come to within their cycle, as `anello audit run`. */
  #auditAll(): void {
    for (const { process } of this.#cluster.nodes) process?.storage.auditor.run(undefined);
  }

  #checkRejection(): void {
    if (this.#rejection === undefined) return;
    const reason = this.#rejection;
    const text = reason instanceof Error ? reason.stack : String(reason);
    throw new Violation('no unhandled rejection', `${text}`);
  }

  async #failure(error: unknown): Promise<Failure> {
    const isViolation = error instanceof Violation;
    const promise = isViolation ? error.promise : 'no crash';
    const message =
      error instanceof Error ? (isViolation ? error.message : `${error.stack}`) : String(error);
    const history = await this.#histories(message);
    const jobs = this.#cluster.nodes.flatMap(({ name, process }) =>
      (process?.storage.jobs() ?? []).map((job) => `${name} ${JSON.stringify(job)}`),
    );
    const { nodes, wanMs } = this.#cluster.shape;
    const report = [
      `nodes: ${nodes.map(({ name, devices }) => `${name}(${devices.join(',')})`).join(' ')}, wan ${wanMs} ms, victim ${this.#nemesis.victim}`,
      `the victim's files: ${this.#nemesis.victimsFiles().join(' ')}`,
      ...this.#cluster.bootFailures.slice(-5).map((text) => `boot failed: ${text}`),
      ...history,
      ...this.#workload.boxes.flatMap(({ name, churn }) =>
        churn === undefined ? [] : ['', name, ...churn.history()],
      ),
      '',
      ...jobs,
      this.#world.describe(5000),
    ].join('\n');
    return { promise, message, report };
  }

  /** Of what the message names: what was done to it, and what each device knows of it. */
  async #histories(message: string): Promise<string[]> {
    const autopsy = new Autopsy(this.#cluster);
    const lines: string[] = [];
    for (const { keys, policy } of this.#workload.boxes) {
      for (const model of keys.filter(({ key }) => message.includes(key))) {
        const found = this.#world.run(autopsy.of({ path: model.key, policy }));
        const known = await found.catch((error: unknown) => [`no autopsy: ${error}`]);
        lines.push('', model.key, ...model.history(), ...known);
      }
    }
    if (this.#versionChecks !== undefined) {
      const found = this.#world.run(this.#versionChecks.report());
      lines.push('', ...(await found.catch((error: unknown) => [`no report: ${error}`])));
    }
    for (const { name } of this.#workload.boxes) {
      const path = containerPath({ account: ACCOUNT, container: name });
      const isTotals = new RegExp(`\\b${name} (lists|is gone)`).test(message);
      if (!isTotals && !new RegExp(`rows of ${path}\\b`).test(message)) continue;
      const found = this.#world.run(autopsy.rowsOf(path));
      lines.push('', ...(await found.catch((error: unknown) => [`no autopsy: ${error}`])));
      if (!isTotals) continue;
      const told = this.#world.run(autopsy.slotsOf(accountPath(ACCOUNT), name));
      lines.push('', ...(await told.catch((error: unknown) => [`no autopsy: ${error}`])));
    }
    return lines;
  }
}
