/**
 * What the leading authority does by itself: settles partitions whose new members are complete, takes
 * the next step of a gradual change, proposes what to do about failing devices (and does it, where the
 * document says so). One bounded step at a time; every step looks at what is in force, so that another
 * authority can go on where this one died.
 */
import type { Env } from '#env/env.ts';
import { type MoveProgress, type MoveReport, progressOf } from '#ring/move-progress.ts';
import type { Ring } from '#ring/ring.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { type Proposal, proposalsOf } from './proposals.ts';
import type { Reports } from './reports.ts';
import type { AuthorityRings } from './rings.ts';
import type { AuthorityStore, Snapshot } from './store.ts';

/** Asks every storage node how far its devices are with the joint partitions. Nodes that are away are left out. */
export type AskMoves = () => Promise<readonly MoveReport[]>;

export interface ConductorOptions {
  readonly env: Pick<Env, 'clock'>;
  readonly store: AuthorityStore;
  readonly rings: AuthorityRings;
  readonly reports: Reports;
  readonly leads: () => boolean;
  readonly askMoves: AskMoves;
}

export interface RingProgress extends MoveProgress {
  readonly policy: number;
  readonly version: number;
}

const BUSY_MS = 1000;
const IDLE_MS = 3000;
/** Each settling is a version that every process fetches: not for single partitions, until so long passed. */
const PATIENCE_MS = 10_000;

export class Conductor {
  readonly #options: ConductorOptions;
  #seen: { readonly version: number; readonly snapshot: Snapshot } | undefined;
  #settledAtMs = 0;
  #progress: readonly RingProgress[] = [];
  #proposals: readonly Proposal[] = [];

  constructor(options: ConductorOptions) {
    this.#options = options;
  }

  /** Of the joint partitions, as last asked. Empty: nothing moves, or this authority does not lead. */
  get progress(): readonly RingProgress[] {
    return this.#progress;
  }

  get proposals(): readonly Proposal[] {
    return this.#proposals;
  }

  readonly job: Job = { name: 'authority.conductor', step: () => this.step() };

  async step(): Promise<StepResult> {
    if (!this.#options.leads()) return { kind: 'idle', waitMs: BUSY_MS };
    return { kind: 'idle', waitMs: (await this.#conduct()) ? BUSY_MS : IDLE_MS };
  }

  async #conduct(): Promise<boolean> {
    const now = await this.#inForce();
    await this.#lookAfterDevices(now);
    if (now.set.joint === 0) {
      this.#progress = [];
      if (now.head.gradual === undefined) return false;
      await this.#options.rings.gradualStep();
      return true;
    }
    await this.#settle(now);
    return true;
  }

  /** Rings are decoded once per version: they are large. */
  async #inForce(): Promise<Snapshot> {
    const { version } = await this.#options.store.head();
    if (this.#seen?.version !== version)
      this.#seen = { version, snapshot: await this.#options.store.snapshot() };
    return this.#seen.snapshot;
  }

  async #settle({ set, head }: Snapshot): Promise<void> {
    const { askMoves, rings, env } = this.#options;
    const joint = [...set.rings().values()].filter((ring) => ring.joint().length > 0);
    const reports = await askMoves();
    this.#progress = joint.map((ring) => ringProgress(ring, reports));
    if (head.paused) return;
    const nowMs = env.clock.monotonicMs();
    const all = this.#progress.every((p) => p.settleable.length === p.partitions);
    const some = this.#progress.some((p) => p.settleable.length > 0);
    if (!all && (!some || nowMs - this.#settledAtMs < PATIENCE_MS)) return;
    this.#settledAtMs = nowMs;
    const partitions = new Map(this.#progress.map((p) => [p.policy, p.settleable]));
    await rings.settle(head.version, partitions);
  }

  async #lookAfterDevices(now: Snapshot): Promise<void> {
    const { reports, rings, env } = this.#options;
    this.#proposals = proposalsOf(now.set, await reports.all());
    const minutes = now.document.applyFailuresAfterMinutes;
    if (minutes === undefined || now.head.paused || now.set.joint > 0) return;
    const nowMs = env.clock.wallMicros() / 1000;
    const due = this.#proposals.filter(({ sinceMs }) => nowMs - sinceMs >= minutes * 60_000);
    if (due.length === 0) return;
    const update = due.map(({ device }) => ({ id: device, weight: 0 }));
    const { plan } = await rings.plan({ kind: 'change', change: { update } });
    await rings.apply(plan, { who: 'authority (failing devices)' });
  }
}

function ringProgress(ring: Ring, reports: readonly MoveReport[]): RingProgress {
  return { ...progressOf(ring, reports), policy: ring.policy, version: ring.version };
}
