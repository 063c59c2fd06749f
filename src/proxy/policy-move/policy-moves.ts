/**
 * The steps of a container's move from one policy to another; the README says why they are safe.
 *
 *   {A}  --begin-->  {B, from A}  --settle-->  {B, left A}  --finish-->  {B}
 *                     confirm, copy names       confirm, retire names
 *
 * Each step is written in place of the one before only (settingsStep), to all replicas of the container.
 */
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import {
  CONTAINER_RING,
  type ContainerName,
  containerPath,
  type ObjectName,
  objectPath,
  type PolicyIndex,
} from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { ListArgs, OwnStateArgs } from '#container/calls.ts';
import type { AuditedArgs, AuditedReply, RetireArgs } from '#object/calls.ts';
import type { StoragePolicy } from '#ring/cluster.ts';
import type { RingDevice } from '#ring/ring.ts';
import { SETTINGS_GROUP, settingsStep } from '#rows/row-state.ts';
import { type Containers, settingsFor } from '../containers.ts';
import { type ProxyContext, unavailable } from '../context.ts';
import type { ContainerInfo, Operation } from '../contract.ts';
import { withFreshRing } from '../fresh-ring.ts';
import { callList } from '../listing-call.ts';
import { objectPlace, placeOf, type Replica } from '../placement.ts';
import { failureCode } from '../replica-calls.ts';
import { Trace } from '../trace.ts';
import { moveName } from './move-name.ts';

export type Begun =
  | { readonly kind: 'begun' | 'same' | 'under-way' | 'no-container' | 'conflict' }
  /** Another move is not over yet, or the container is not such that it can move there. */
  | { readonly kind: 'refused'; readonly why: string };

/** Devices that are asked at once, and named in a message. */
const LANES = 32;
const MAX_SHOWN = 3;

type Settings = Parameters<typeof settingsFor>[0];

export class PolicyMoves {
  readonly #context: ProxyContext;
  readonly #containers: Containers;

  constructor(context: ProxyContext, containers: Containers) {
    this.#context = context;
    this.#containers = containers;
  }

  /** @throws OperatingError `unavailable`, `no-policy` */
  async begin(operation: Operation, name: ContainerName, index: PolicyIndex): Promise<Begun> {
    const { policies } = this.#context.cluster.current();
    const policy = policies.find((known) => known.index === index);
    if (policy === undefined) throw new OperatingError('no-policy', 'no such policy', { index });
    const info = await this.#info(operation, name);
    if (info === undefined) return { kind: 'no-container' };
    if (info.policy.index === index) return { kind: info.former ? 'under-way' : 'same' };
    const why = refusal(info, policy);
    if (why !== undefined) return { kind: 'refused', why };
    const unseen = info.was?.includes(index) ? await this.#unseen(operation, info, index) : [];
    if (unseen.length > 0) return { kind: 'refused', why: mayHaveLeft(policy, unseen) };
    const was = info.was?.filter((left) => left !== index);
    const next = { policy, mode: info.mode, former: info.policy, was };
    return { kind: (await this.#step(operation, name, info, next)) ? 'begun' : 'conflict' };
  }

  /** All names have been copied. False: the container is not in that state any more. */
  settle(operation: Operation, info: ContainerInfo): Promise<boolean> {
    const { name, policy, mode, former, was = [] } = info;
    if (former === undefined) return Promise.resolve(false);
    const next = { policy, mode, left: former, was: [...was, former.index] };
    return this.#step(operation, name, info, next);
  }

  /** What was left has been removed. */
  finish(operation: Operation, info: ContainerInfo): Promise<boolean> {
    const { name, policy, mode, was } = info;
    return this.#step(operation, name, info, { policy, mode, was });
  }

  /**
   * Brings the settings, as they are, to every replica of the container. True: all have them, so that no
   * write of who knows older ones only is acknowledged any more, wherever its row goes.
   */
  async confirm(operation: Operation, name: ContainerName): Promise<boolean> {
    const trace = this.#trace(operation, 'container.confirm', containerPath(name));
    const { state } = await this.#ask(operation, trace, name);
    const settings = state?.groups[SETTINGS_GROUP];
    if (settings === undefined) return false;
    const written = await this.#write(trace, name, { [SETTINGS_GROUP]: settings });
    return written.everywhere;
  }

  /** The container's rows at this node's own device, after it has heard a majority. */
  async refreshRows(operation: Operation, name: ContainerName, device: number): Promise<void> {
    const path = containerPath(name);
    const trace = this.#trace(operation, 'container.refresh', path);
    await withFreshRing(this.#context, async () => {
      const place = placeOf(this.#context.cluster.current(), CONTAINER_RING, path);
      const { hash, ringVersion } = place;
      const replica = place.primaries.find((known) => known.device === device);
      if (replica === undefined) throw unavailable('no replica of the container here');
      const query = { limit: 0 };
      const args: ListArgs = { device, hash, path, ringVersion, query, read: 'quorum' };
      await this.#call(trace, replica, 'container.list', args);
    });
  }

  /** @throws OperatingError `unavailable`, `container-mismatch` (it does not move, or not any more) */
  copy(operation: Operation, info: ContainerInfo, name: ObjectName): Promise<'copied' | 'there'> {
    const path = objectPath(name);
    const trace = this.#trace(operation, 'object.move', path);
    return withFreshRing(this.#context, async () => {
      const place = objectPlace(this.#context.cluster.current(), info, path);
      if (!place.isMoving) throw new OperatingError('container-mismatch', 'it does not move');
      return await moveName(this.#context, { trace, place, signal: operation.signal });
    });
  }

  /** True: no primary of the policy that was left has the name any more. */
  async retire(operation: Operation, name: ObjectName, left: PolicyIndex): Promise<boolean> {
    const path = objectPath(name);
    const trace = this.#trace(operation, 'object.retire', path);
    const place = placeOf(this.#context.cluster.current(), left, path);
    const done = await Promise.all(
      place.primaries.map(async (replica) => {
        const { hash, ringVersion } = place;
        const args: RetireArgs = { device: replica.device, policy: left, hash, ringVersion, path };
        const reply = await this.#call(trace, replica, 'object.retire', args);
        return (reply as { readonly retired?: unknown }).retired === true;
      }),
    );
    return done.every(Boolean);
  }

  /**
   * Devices of a policy that may still have something of the container from when it was there: those whose
   * listing auditor has not gone through everything since, and those that can't be asked.
   */
  async #unseen(
    operation: Operation,
    { name, since }: ContainerInfo,
    index: PolicyIndex,
  ): Promise<RingDevice[]> {
    const { cluster, limits } = this.#context;
    const devices = cluster.current().rings.get(index)?.devices ?? [];
    const trace = this.#trace(operation, 'container.return', containerPath(name));
    const afterMs = microsOf(since) / 1_000 + limits.policyReturnMs;
    const unseen: RingDevice[] = [];
    await inLanes(
      devices.filter((device) => device !== undefined),
      async (device) => {
        const sinceMs = await this.#auditedSince(trace, device).catch(() => 0);
        if (!(sinceMs > afterMs)) unseen.push(device);
      },
    );
    return unseen;
  }

  async #auditedSince(trace: Trace, { id, node }: RingDevice): Promise<number> {
    const deadlineMs = this.#context.limits.readDeadlineMs;
    const options = { ringVersion: 0, deadlineMs };
    const args: AuditedArgs = { device: id };
    const target = { device: id, node };
    const reply = await this.#context.calls.call(trace, target, 'object.audited', args, options);
    return Number((reply.result as Partial<AuditedReply>).sinceMs);
  }

  /** False: the container is not what it was taken for. @throws OperatingError `unavailable` */
  async #step(
    operation: Operation,
    name: ContainerName,
    info: ContainerInfo,
    next: Settings,
  ): Promise<boolean> {
    const trace = this.#trace(operation, 'container.policy', containerPath(name));
    const timestamp = this.#context.clock.above(info.since);
    const group = settingsStep(settingsFor(next), info.since, timestamp);
    const { isConflict, majority } = await this.#write(trace, name, { [SETTINGS_GROUP]: group });
    this.#containers.forget(name);
    if (isConflict) return false;
    if (!majority) throw unavailable('container settings');
    return true;
  }

  async #write(
    trace: Trace,
    name: ContainerName,
    groups: OwnStateGroups,
  ): Promise<{ isConflict: boolean; majority: boolean; everywhere: boolean }> {
    const path = containerPath(name);
    const place = placeOf(this.#context.cluster.current(), CONTAINER_RING, path);
    const { hash, ringVersion } = place;
    const stored = new Set<number>();
    let isConflict = false;
    await Promise.all(
      place.primaries.map(async (replica) => {
        const { device, member } = replica;
        const state = encodeState({ groups });
        const intent = 'write' as const;
        const args: OwnStateArgs = { device, hash, path, ringVersion, state, intent };
        const reply = await this.#call(trace, replica, 'container.write', args).catch(failureCode);
        const { outcome, complete } = Object(reply) as { outcome?: unknown; complete?: unknown };
        if (outcome === 'conflict') isConflict = true;
        const isStored = outcome === 'stored' || outcome === 'superseded';
        if (isStored && complete === true) stored.add(member);
      }),
    );
    const everywhere = stored.size === place.primaries.length;
    return { isConflict, majority: place.quorum.isWrite(stored), everywhere };
  }

  async #info(operation: Operation, name: ContainerName): Promise<ContainerInfo | undefined> {
    const trace = this.#trace(operation, 'container.info', containerPath(name));
    return await this.#containers.freshInfo(operation, trace, name);
  }

  #ask(operation: Operation, trace: Trace, name: ContainerName) {
    const path = containerPath(name);
    return callList(this.#context, operation, trace, 'container', path, { limit: 0 });
  }

  async #call(trace: Trace, replica: Replica, method: string, args: object): Promise<unknown> {
    const { ringVersion } = replica;
    const deadlineMs = this.#context.limits.writeDeadlineMs;
    const options = { ringVersion, deadlineMs };
    return (await this.#context.calls.call(trace, replica, method, args, options)).result;
  }

  #trace({ txn }: Operation, name: string, path: string): Trace {
    return new Trace(txn, name, path, 0, this.#context.env.clock.monotonicMs());
  }
}

type OwnStateGroups = Parameters<typeof encodeState>[0]['groups'];

function mayHaveLeft({ name }: StoragePolicy, devices: readonly RingDevice[]): string {
  const shown = devices.slice(0, MAX_SHOWN).map((device) => `${device.node}/${device.name}`);
  const more = devices.length > MAX_SHOWN ? ` and ${devices.length - MAX_SHOWN} more` : '';
  return `the container was in "${name}" before, and what was deleted since may still be on ${shown.join(', ')}${more}: it can return when the listing audit of each has gone through everything once more (a day, at the most 30)`;
}

async function inLanes<Item>(items: readonly Item[], work: (item: Item) => Promise<void>) {
  const waiting = items.values();
  const lane = async (): Promise<void> => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Why a container can't move to this policy now; undefined: it can. */
function refusal(info: ContainerInfo, wanted: StoragePolicy): string | undefined {
  const { policy, mode, former, left } = info;
  if (mode !== 'strict') return 'only containers of the mode "strict" can change their policy';
  if (wanted.mode !== mode && wanted.mode !== policy.mode) {
    return `the container's mode is "${mode}", which is fixed; the policy "${wanted.name}" has the mode "${wanted.mode}"`;
  }
  if (former !== undefined && former.index !== wanted.index) {
    return `the container is still moving from "${former.name}" to "${policy.name}"; it can only go back`;
  }
  if (left !== undefined) return `what is left in "${left.name}" is still being removed`;
  return undefined;
}
