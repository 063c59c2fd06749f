/**
 * How a process learns its cluster: the last good bundle on disk, then whatever newer one an
 * authority publishes. Without any authority it goes on with what it has, for ever.
 *
 * Invariants: only a bundle that was verified and is already on disk comes into force; versions
 * never go back; another cluster's bundle is refused and reported.
 */

import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Env, Timer } from '#env/env.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { decodeBundle, type Verify } from './bundle.ts';

export const POLL_MS = 1000;
/** Between two looks, however much is asked for. */
const SEEK_MS = 100;

/** Fetches the newest bundle of one authority if it is above `have`; undefined: nothing newer. */
export type FetchBundle = (authority: string, have: number) => Promise<Buffer | undefined>;

export interface BundleSourceOptions {
  readonly env: Env;
  readonly file: string;
  readonly clusterId: string;
  readonly authorities: readonly string[];
  readonly verify: Verify;
  readonly fetchBundle: FetchBundle;
}

export interface Refusal {
  readonly version: number;
  readonly code: string;
}

export class BundleSource implements ClusterSource {
  readonly #options: BundleSourceOptions;
  readonly #subscribers = new Set<(view: ClusterView) => void>();
  #view: ClusterView;
  /** Until the next look; undefined while it is under way. */
  #timer: Timer | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #isSought = false;
  #closed = false;
  #refused: Refusal | undefined;

  /** Waits for a first bundle: from disk, else from an authority (`attempts` rounds of POLL_MS). */
  static async open(options: BundleSourceOptions, attempts = 60): Promise<BundleSource> {
    const source = new BundleSource(options, await firstView(options, attempts));
    source.#schedule();
    return source;
  }

  private constructor(options: BundleSourceOptions, view: ClusterView) {
    this.#options = options;
    this.#view = view;
  }

  current(): ClusterView {
    return this.#view;
  }

  /** The last bundle that was refused, as long as no better one came. */
  get refused(): Refusal | undefined {
    return this.#refused;
  }

  /** Where authorities answer: as configured, and those that the bundle names. */
  authorities(): readonly string[] {
    return knownAuthorities(this.#options, this.#view);
  }

  subscribe(changed: (view: ClusterView) => void): () => void {
    this.#subscribers.add(changed);
    return () => this.#subscribers.delete(changed);
  }

  seek(): void {
    // Said many times over, it must not put off what is coming.
    if (this.#timer === undefined || this.#isSought) return;
    this.#isSought = true;
    this.#timer.cancel();
    const sinceMs = this.#options.env.clock.monotonicMs() - this.#lookedAtMs;
    this.#schedule(Math.max(0, SEEK_MS - sinceMs));
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(waitMs = POLL_MS): void {
    if (this.#closed) return;
    const { clock } = this.#options.env;
    this.#timer = clock.setTimer(waitMs, () => {
      this.#timer = undefined;
      this.#isSought = false;
      this.#lookedAtMs = clock.monotonicMs();
      this.#poll().finally(() => this.#schedule());
    });
  }

  /** Who answers wrongly is passed over like who doesn't answer: another authority may know better. */
  async #poll(): Promise<void> {
    for (const authority of this.authorities()) {
      const answer = await fetchNewer(this.#options, authority, this.#view.version);
      if (this.#closed || answer === 'nothing') return;
      if (answer !== 'silent' && (await this.#take(answer))) return;
    }
  }

  /** False: it was refused. */
  async #take(bytes: Buffer): Promise<boolean> {
    const { env, file } = this.#options;
    try {
      const view = checked(this.#options, bytes, this.#view.version);
      checkRings(view, this.#view);
      await env.disk.replace(file, bytes, 0o600);
      this.#view = view;
      this.#refused = undefined;
      env.log.info('bundle.in-force', { version: view.version });
      for (const changed of this.#subscribers) changed(view);
      return true;
    } catch (error) {
      this.#refused = { version: versionOf(error), code: codeOf(error) };
      env.log.error('bundle.refused', { code: codeOf(error), reason: messageOf(error) });
      return false;
    }
  }
}

async function firstView(options: BundleSourceOptions, attempts: number): Promise<ClusterView> {
  const { env, file } = options;
  if ((await env.disk.stat(file)) !== undefined) {
    try {
      return checked(options, await env.disk.read(file), 0);
    } catch (error) {
      env.log.error('bundle.on-disk-unusable', { code: codeOf(error), reason: messageOf(error) });
    }
  }
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await askedView(options);
    if (view !== undefined) return view;
    await env.clock.sleep(POLL_MS);
  }
  throw new OperatingError('no-bundle', 'no authority answers and there is no bundle on disk', {
    authorities: options.authorities,
  });
}

/** Of the first authority that has a good one. */
async function askedView(options: BundleSourceOptions): Promise<ClusterView | undefined> {
  const { env, file, authorities } = options;
  for (const authority of authorities) {
    const answer = await fetchNewer(options, authority, 0);
    if (typeof answer === 'string') continue;
    try {
      const view = checked(options, answer, 0);
      checkRings(view);
      await env.disk.replace(file, answer, 0o600);
      return view;
    } catch (error) {
      env.log.error('bundle.refused', { code: codeOf(error), reason: messageOf(error) });
    }
  }
  return undefined;
}

function checked(options: BundleSourceOptions, bytes: Buffer, above: number): ClusterView {
  const view = decodeBundle(bytes, options.verify);
  if (view.clusterId !== options.clusterId) {
    throw new OperatingError('other-cluster', 'the bundle belongs to another cluster', {
      clusterId: view.clusterId,
    });
  }
  if (view.version <= above) {
    throw new OperatingError('version-back', 'the bundle is older than the one in force', {
      version: view.version,
      inForce: above,
    });
  }
  return view;
}

async function fetchNewer(
  options: BundleSourceOptions,
  authority: string,
  have: number,
): Promise<Buffer | 'nothing' | 'silent'> {
  try {
    return (await options.fetchBundle(authority, have)) ?? 'nothing';
  } catch (error) {
    options.env.log.debug('authority.silent', { authority, reason: messageOf(error) });
    return 'silent';
  }
}

/**
 * Rings must fit the cluster that they came with, and never go back: an old ring would place data where
 * nobody looks for it.
 */
function checkRings(view: ClusterView, before?: ClusterView): void {
  const misfit = (why: string): OperatingError =>
    new OperatingError('ring-mismatch', `the rings don't fit the cluster: ${why}`, {
      version: view.version,
    });
  const policies = new Set([
    ...view.policies.map(({ index }) => index),
    CONTAINER_RING,
    ACCOUNT_RING,
  ]);
  for (const [policy, ring] of view.rings) {
    if (!policies.has(policy)) throw misfit(`ring ${policy} belongs to no policy`);
    const earlier = before?.rings.get(policy)?.version ?? 0;
    if (ring.version < earlier) throw misfit(`ring ${policy} goes back to ${ring.version}`);
  }
  for (const policy of before?.rings.keys() ?? [])
    if (!view.rings.has(policy)) throw misfit(`ring ${policy} is gone`);
}

function knownAuthorities(
  { authorities }: BundleSourceOptions,
  { settings }: ClusterView,
): string[] {
  return [...new Set([...authorities, ...(settings?.authorities ?? [])])];
}

function versionOf(error: unknown): number {
  const version = error instanceof OperatingError ? error.facts['version'] : undefined;
  return typeof version === 'number' ? version : 0;
}
