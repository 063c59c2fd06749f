/**
 * What an operator asks of containers' policies: change one, and how far a change is. A bucket keeps older
 * versions and parts of uploads in containers of the store's own (versions/names.ts, multipart/names.ts);
 * they go with it.
 */
import { type ContainerName, containerPath } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import { JobRecords } from '../bucket-jobs/job-record.ts';
import type { ContainerInfo, Operation, Store } from '../contract.ts';
import { partsContainer } from '../multipart/names.ts';
import { isHiddenAccount, versionsContainer } from '../versions/names.ts';
import type { Begun, PolicyMoves } from './policy-moves.ts';
import { decodeProgress, MOVE_JOB } from './progress.ts';

export interface ContainerPoliciesOptions {
  readonly env: Pick<Env, 'clock'>;
  readonly store: Store;
  readonly moves: PolicyMoves;
}

export interface PolicyStatus {
  readonly path: string;
  readonly policy: string;
  readonly mode: string;
  readonly objects: number;
  /** The policy that its objects are copied from. */
  readonly from?: string;
  /** The policy where what is left of them is being removed. */
  readonly left?: string;
  /** Of the present step; none where no node has begun it. */
  readonly progress?: {
    readonly node: string;
    /** All replicas of the container know of it. */
    readonly isConfirmed: boolean;
    /** Names gone through, deleted ones too. */
    readonly names: number;
    readonly isWalked: boolean;
    readonly failed: number;
  };
}

export interface PolicyChange {
  readonly path: string;
  readonly outcome: Begun['kind'];
  readonly why?: string;
}

export class ContainerPolicies {
  readonly #options: ContainerPoliciesOptions;
  readonly #records: JobRecords;

  constructor(options: ContainerPoliciesOptions) {
    const { env, store } = options;
    this.#options = options;
    this.#records = new JobRecords({ env, store, job: MOVE_JOB, holder: '' });
  }

  /** By its name, and the containers that belong to it; none: there is no such container. */
  async status(operation: Operation, name: ContainerName): Promise<PolicyStatus[]> {
    const found = await this.#family(operation, name);
    return await Promise.all(found.map((info) => this.#statusOf(operation, info)));
  }

  /**
   * By the policy's name, any case. Those that belong to it follow only where it moves by itself.
   * @throws OperatingError `unavailable`, `no-policy`
   */
  async change(
    operation: Operation,
    name: ContainerName,
    policyName: string,
  ): Promise<PolicyChange[]> {
    const { store, moves } = this.#options;
    const wanted = policyName.toLowerCase();
    const policy = store.policies().find((known) => known.name.toLowerCase() === wanted);
    const changes: PolicyChange[] = [];
    for (const info of await this.#family(operation, name)) {
      const begun = await moves.begin(operation, info.name, policy?.index ?? Number.NaN);
      const why = begun.kind === 'refused' ? { why: begun.why } : {};
      changes.push({ path: containerPath(info.name), outcome: begun.kind, ...why });
      if (begun.kind === 'refused' || begun.kind === 'conflict') break;
    }
    return changes;
  }

  async #family(operation: Operation, name: ContainerName): Promise<ContainerInfo[]> {
    const others = isHiddenAccount(name.account)
      ? []
      : [versionsContainer(name), partsContainer(name)];
    const { store } = this.#options;
    const own = await store.containerInfo(operation, name, true);
    if (own === undefined) return [];
    const infos = await Promise.all(
      others.map((other) => store.containerInfo(operation, other, true)),
    );
    return [own, ...infos.filter((info) => info !== undefined)];
  }

  async #statusOf(operation: Operation, info: ContainerInfo): Promise<PolicyStatus> {
    const { name, policy, mode, objects, former, left, since } = info;
    const isMoving = former !== undefined || left !== undefined;
    const record = isMoving ? await this.#records.look(operation, name) : undefined;
    const { confirmedMs, names, isWalked, failed } = decodeProgress(record?.place ?? '');
    const progress = { isConfirmed: confirmedMs > 0, names, isWalked, failed };
    return {
      path: containerPath(name),
      policy: policy.name,
      mode,
      objects,
      ...(former && { from: former.name }),
      ...(left && { left: left.name }),
      ...(record?.goal === since && { progress: { node: record.holder, ...progress } }),
    };
  }
}
