/**
 * Reports the totals of containers to their accounts: every container that changed since its account
 * last acknowledged, many in one message, about once a second. What users hold of it goes to the users'
 * own accounts in the same way.
 *
 * The report is the container's whole row in the account, with this replica's slot, so it is also what
 * lists a container whose creation could not reach the account. It is idempotent and sent again until
 * a majority of the account's replicas has it; until where that is so is kept in rows.db, so a restart
 * goes on where it was.
 */
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { ContainerFacts } from '#rows/answers.ts';
import type { Holding } from '#rows/holders.ts';
import type { RowItem, RowsArgs, RowTarget } from '#rows/service/calls.ts';
import {
  type Replicas,
  RowContext,
  type RowDevice,
  type RowServiceOptions,
} from '#rows/service/context.ts';
import { isUsable } from '#rows/service/keeper.ts';
import { parseOutcomes } from '#rows/service/replies.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { accountRow, splitContainerPath, userRow } from './account-rows.ts';

const BATCH = 500;
/** Users whose holdings of one container are reported in one step. */
const HOLDINGS = 1000;
/** Of one message. */
const MAX_ROWS = 1000;
const WAIT_MS = 1000;
const CALL_DEADLINE_MS = 5000;

/** One row of one account. */
interface Report {
  readonly row: RowItem;
  readonly replicas: Replicas;
  readonly held: Set<number>;
}

/** What is told of one container. */
interface ContainerReport {
  readonly hash: Buffer;
  /** Up to where of its commits it tells all. */
  readonly sequence: number;
  readonly rows: readonly Report[];
}

export class TotalsReporter implements Job {
  readonly name = 'container.totals';
  readonly #options: RowServiceOptions;
  readonly #accounts: RowContext;
  readonly #containers: RowContext;
  /** Where the last step stopped on a device: what can't be reported must not hold up the rest. */
  readonly #after = new Map<number, Buffer>();
  #reported = 0;
  #failed = 0;

  constructor(options: RowServiceOptions) {
    this.#options = options;
    this.#accounts = new RowContext(options, ACCOUNT_RING, 'account');
    this.#containers = new RowContext(options, CONTAINER_RING, 'container');
  }

  facts(): Record<string, number> {
    return { reported: this.#reported, failed: this.#failed };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let more = false;
    for (const target of this.#options.devices().values()) {
      if (signal.aborted || !isUsable(target)) continue;
      const { id } = target.device;
      const page = target.rows.unreported(CONTAINER_RING, this.#after.get(id), BATCH);
      if (page.length < BATCH) this.#after.delete(id);
      else {
        more = true;
        this.#after.set(id, page.at(-1)!.hash);
      }
      await this.#report(target, page);
    }
    return more ? { kind: 'more' } : { kind: 'idle', waitMs: WAIT_MS };
  }

  async #report(target: RowDevice, page: readonly ContainerFacts[]): Promise<void> {
    const all: ContainerReport[] = [];
    for (const facts of page) {
      const isOwn = this.#isReplica(target, facts.hash);
      const report = isOwn ? this.#reportOf(target, facts) : this.#withdrawalOf(target, facts);
      if (report !== undefined) all.push(report);
      // A handoff has no totals to report; the container's replicas do it.
      else if (!isOwn) target.rows.markReported(CONTAINER_RING, facts.hash, facts.sequence);
    }
    const rows = all.flatMap((report) => report.rows);
    await Promise.all([...byReplica(rows)].map(([replica, theirs]) => this.#send(replica, theirs)));
    for (const report of all) {
      if (!report.rows.every(({ replicas, held }) => isMajority(replicas, held))) {
        this.#failed++;
        continue;
      }
      target.rows.markReported(CONTAINER_RING, report.hash, report.sequence);
      this.#reported++;
    }
  }

  #reportOf(target: RowDevice, facts: ContainerFacts): ContainerReport | undefined {
    const name = splitContainerPath(facts.path);
    if (name === undefined) return undefined;
    const { clock, cluster } = this.#options;
    const view = cluster.current();
    const hash = hashPath(view.hashPrefix, name.account, view.hashSuffix);
    const account = { hash, path: name.account };
    const row = accountRow(target, facts, account, name.container, clock);
    const { rows, sequence } = this.#users(target, facts, (held) => held);
    return {
      hash: facts.hash,
      sequence,
      rows: [row, ...rows].map((item) => this.#rowReport(item)),
    };
  }

  /**
   * Who is no replica of the container any more takes back what it has told of its users: behind others, it may
   * have told a newer moment than they ever will, with too little (simulator, seed 2142). Undefined: of nobody.
   */
  #withdrawalOf(target: RowDevice, facts: ContainerFacts): ContainerReport | undefined {
    const { rows, sequence } = this.#users(target, facts, withdrawn);
    if (rows.length === 0) return undefined;
    return { hash: facts.hash, sequence, rows: rows.map((item) => this.#rowReport(item)) };
  }

  #users(
    target: RowDevice,
    facts: ContainerFacts,
    tell: (held: Holding) => Holding,
  ): { readonly rows: readonly RowItem[]; readonly sequence: number } {
    const { clock, cluster } = this.#options;
    const view = cluster.current();
    const holdings = target.rows.unreportedHoldings(CONTAINER_RING, facts.hash, HOLDINGS);
    const rows = holdings.flatMap((held) => userRow(target, facts, tell(held), view, clock) ?? []);
    // Where there are more of them, the others are the next step's.
    const last = holdings.length < HOLDINGS ? facts.sequence : holdings.at(-1)!.sequence;
    return { rows, sequence: Math.min(facts.sequence, last) };
  }

  #rowReport(row: RowItem): Report {
    return { row, replicas: this.#accounts.replicas(row.hash), held: new Set() };
  }

  #isReplica({ device }: RowDevice, hash: Buffer): boolean {
    return this.#containers.replicas(hash).members.some((member) => member.device === device.id);
  }

  async #send(replica: RowTarget, reports: readonly Report[]): Promise<void> {
    for (let at = 0; at < reports.length; at += MAX_ROWS) {
      await this.#sendSome(replica, reports.slice(at, at + MAX_ROWS));
    }
  }

  async #sendSome(replica: RowTarget, reports: readonly Report[]): Promise<void> {
    const { ringVersion } = reports[0]!.replicas;
    const rows = reports.map((report) => report.row);
    const args: Omit<RowsArgs, 'device'> = { ringVersion, rows, intent: 'repair' };
    const options = { txn: this.name, deadlineMs: CALL_DEADLINE_MS };
    try {
      const result = await this.#accounts.call(replica, 'rows', args, options);
      const { outcomes } = parseOutcomes(result, rows.length);
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome === 'stored' || outcome === 'superseded') reports[i]!.held.add(replica.device);
      }
    } catch (error) {
      const facts = { node: replica.node, device: replica.device, error: codeOf(error) };
      this.#options.env.log.debug('container.totals-unsent', facts);
    }
  }
}

/** Shown after all others. */
function withdrawn({ owner, sequence }: Holding): Holding {
  return { owner, rows: 0, bytes: 0, newest: ZERO_TIMESTAMP, sequence };
}

function isMajority({ sets }: Replicas, held: ReadonlySet<number>): boolean {
  return sets.every((set) => set.filter((device) => held.has(device)).length > set.length / 2);
}

function byReplica(reports: readonly Report[]): Map<RowTarget, Report[]> {
  const replicas = new Map<number, [RowTarget, Report[]]>();
  for (const report of reports) {
    for (const member of report.replicas.members) {
      const known = replicas.get(member.device);
      if (known === undefined) replicas.set(member.device, [member, [report]]);
      else known[1].push(report);
    }
  }
  return new Map(replicas.values());
}
