/**
 * Operations on one object other than PUT: finds its container and place, and sees to it that what was
 * refused for an old ring is done again by the new one.
 */
import { type EntryState, isLive } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { type ObjectName, objectPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Condition } from './condition.ts';
import type { Containers } from './containers.ts';
import { newWriteId, nowSeconds, type ProxyContext } from './context.ts';
import type {
  ContainerInfo,
  DeleteMarker,
  Found,
  MetadataGroups,
  ObjectReader,
  ObjectStat,
  Operation,
} from './contract.ts';
import { withFreshContainer } from './fresh-container.ts';
import { withFreshRing } from './fresh-ring.ts';
import { objectPlace, type Place } from './placement.ts';
import { type ObjectRead, openObject, readState } from './read-object.ts';
import { Repairs } from './repair.ts';
import { OwnWrite } from './round-record.ts';
import { reassert, settledState } from './rounds.ts';
import type { Trace } from './trace.ts';
import {
  type ObjectChange,
  type ObjectUpdate,
  updateGroups,
  updateObject,
} from './update-object.ts';
import type { Refused, Written } from './write-object.ts';
import { deleteObject } from './write-tombstone.ts';

export interface ObjectCall {
  readonly operation: Operation;
  readonly trace: Trace;
  readonly name: ObjectName;
  readonly condition?: Condition;
  /** Of a deletion: what the tombstone stands for. */
  readonly marker?: DeleteMarker | undefined;
}

export type UpdateOutcome = 'updated' | 'not-found' | 'precondition-failed';
export type DeleteOutcome = 'deleted' | 'not-found' | 'no-container' | 'precondition-failed';

export interface FoundObject {
  readonly container: ContainerInfo;
  readonly place: Place;
}

export class Objects {
  readonly #context: ProxyContext;
  readonly #containers: Containers;
  readonly #repairs: Repairs;

  constructor(context: ProxyContext, containers: Containers) {
    this.#context = context;
    this.#containers = containers;
    this.#repairs = new Repairs(context);
  }

  open(call: ObjectCall): Promise<Found<ObjectReader>> {
    return this.#fresh(call, async () => {
      const found = await this.#find(call);
      if (found === undefined) return undefined;
      const read = this.#read(call, found, true);
      const reader = await openObject(this.#context, this.#repairs, read);
      if (reader === undefined) await this.#expectUnmoved(call, found);
      return reader && this.#context.encryption.open(call.operation, reader);
    });
  }

  stat(call: ObjectCall): Promise<Found<ObjectStat>> {
    return this.#fresh(call, async () => {
      const found = await this.#find(call);
      const state = found && (await this.#current(this.#read(call, found)));
      if (found !== undefined && state === undefined) await this.#expectUnmoved(call, found);
      return state;
    });
  }

  /** Whatever is known, live or not. */
  peek(call: ObjectCall): Promise<Found<EntryState>> {
    return this.#fresh(call, async () => {
      const found = await this.#find(call);
      if (found === undefined) return undefined;
      const { state } = await readState(this.#context, this.#repairs, this.#read(call, found));
      if (!this.#isLive(state)) await this.#expectUnmoved(call, found);
      return state.data === undefined ? undefined : state;
    });
  }

  update(call: ObjectCall, change: ObjectChange): Promise<UpdateOutcome> {
    return this.#change(call, (update) => updateObject(this.#context, { ...update, change }));
  }

  updateGroups(call: ObjectCall, groups: MetadataGroups): Promise<UpdateOutcome> {
    return this.#change(call, (update) => updateGroups(this.#context, { ...update, groups }));
  }

  delete(call: ObjectCall): Promise<DeleteOutcome> {
    const own = new OwnWrite(newWriteId(this.#context.env));
    return this.#fresh(call, async () => {
      const isAgain = own.sent.length > 0;
      const outcome = await this.#delete(call, own).catch((error: unknown) => {
        if (codeOf(error) !== 'no-container' || !isAgain) throw error;
        return 'no-container' as const;
      });
      if (outcome !== 'no-container' || !isAgain) return outcome;
      // The row of an earlier attempt may have emptied the container for whoever has deleted that (seed 3000324).
      throw new OperatingError('undecided', 'the container is gone; the outcome is not known');
    });
  }

  async #delete(call: ObjectCall, own: OwnWrite): Promise<DeleteOutcome> {
    const found = await this.#find(call);
    if (found === undefined) return 'no-container';
    const isRefused = await this.#refusesWeakly(call, found);
    if (isRefused) return 'precondition-failed';
    const { trace, marker } = call;
    const markerId = marker?.id;
    const deletion = { trace, markerId, ...found, own, ...conditionIn(found, call.condition) };
    const written = await deleteObject(this.#context, deletion);
    if (written.kind === 'refused') {
      await this.#expectUnmoved(call, found);
      return 'precondition-failed';
    }
    const { writeId, clientMicros } = written.state.data!;
    // The rounds may have settled a later one that was built on it.
    marker?.onMade?.(writeId === own.writeId ? clientMicros : clientMicros - 1);
    // Stand-ins don't know what the primaries had, and "not found" is for a majority to say.
    const isKnown = written.ack === undefined || written.ack === 'unlisted';
    return written.previous.live || !isKnown ? 'deleted' : 'not-found';
  }

  /** Written anew above a row of which nobody knows the write (rounds.ts). False: there is no such container. */
  reassert(call: ObjectCall, above: Timestamp): Promise<boolean> {
    return this.#fresh(call, async () => {
      const found = await this.#find(call);
      if (found === undefined) return false;
      await reassert(this.#context, { trace: call.trace, ...found }, above);
      return true;
    });
  }

  /** Asked before a write: of what a majority tells, or (in a strict container) of what all agree on, as the rounds do. */
  async holds(condition: Condition, call: ObjectCall, found: FoundObject): Promise<boolean> {
    const read = isStrict(found) ? 'newest' : 'quorum';
    const operation: Operation = { ...call.operation, read };
    const asked = this.#read({ ...call, operation }, found);
    const { state } = await readState(this.#context, this.#repairs, asked);
    const isTrue = condition.holds(this.#isLive(state) ? state : undefined, state);
    if (!isTrue) await this.#expectUnmoved(call, found);
    return isTrue;
  }

  #change(
    call: ObjectCall,
    write: (update: ObjectUpdate) => Promise<Written | Refused>,
  ): Promise<UpdateOutcome> {
    const own = new OwnWrite(newWriteId(this.#context.env));
    return this.#fresh(call, async () => {
      const found = await this.#find(call);
      if (found === undefined) return 'not-found';
      const operation: Operation = { ...call.operation, read: 'quorum' };
      const state = await this.#current(this.#read({ ...call, operation }, found));
      if (state === undefined) {
        await this.#expectUnmoved(call, found);
        if (own.sent.length === 0) return 'not-found';
        // It was there before, and may be gone by what an earlier attempt left: its expiry (seed 903052).
        throw new OperatingError('undecided', 'gone since; the outcome is not known');
      }
      if (await this.#refusesWeakly(call, found)) return 'precondition-failed';
      const condition = conditionIn(found, call.condition);
      const written = await write({ trace: call.trace, ...found, state, own, ...condition });
      if (written.kind === 'written') return 'updated';
      await this.#expectUnmoved(call, found);
      return this.#isLive(written.state) ? 'precondition-failed' : 'not-found';
    });
  }

  /** In a container that is not strict, a read before the write decides. @throws OperatingError `not-strict` */
  async #refusesWeakly(call: ObjectCall, found: FoundObject): Promise<boolean> {
    const { condition } = call;
    if (condition === undefined || isStrict(found)) return false;
    expectWeak(condition);
    return !(await this.holds(condition, call, found));
  }

  async #current(read: ObjectRead): Promise<Found<ObjectStat>> {
    const { state, degraded } = await readState(this.#context, this.#repairs, read);
    if (!this.#isLive(state)) return undefined;
    return degraded ? { ...state, degraded } : state;
  }

  #isLive(state: EntryState): boolean {
    return isLive(state, nowSeconds(this.#context.env));
  }

  #read({ operation, trace }: ObjectCall, found: FoundObject, wantsBody = false): ObjectRead {
    const { place } = found;
    if (!isStrict(found)) return { operation, trace, place, wantsBody, mayDegrade: true };
    const settle = (anew?: boolean) => settledState(this.#context, { trace, ...found }, anew);
    return { operation, trace, place, wantsBody, mayDegrade: false, settle };
  }

  #expectUnmoved({ operation, trace }: ObjectCall, { container }: FoundObject): Promise<void> {
    return this.#containers.expectUnmoved(operation, trace, container);
  }

  /** Again by a newer ring, or as the container is by now. */
  #fresh<Result>({ name }: ObjectCall, work: () => Promise<Result>): Promise<Result> {
    return withFreshContainer(this.#context, this.#containers, name, () =>
      withFreshRing(this.#context, work),
    );
  }

  /** Undefined: there is no such container. */
  async #find({ operation, trace, name }: ObjectCall): Promise<Found<FoundObject>> {
    const container = await this.#containers.info(operation, trace, name);
    if (container === undefined) return undefined;
    const view = this.#context.cluster.current();
    return { container, place: objectPlace(view, container, objectPath(name)) };
  }
}

function isStrict({ container }: Pick<FoundObject, 'container'>): boolean {
  return container.mode === 'strict';
}

/** What the rounds decide: in a container that is not strict, nothing. */
export function conditionIn(
  found: Pick<FoundObject, 'container'>,
  condition: Condition | undefined,
): { readonly condition?: Condition } {
  return condition !== undefined && isStrict(found) ? { condition } : {};
}

export function expectWeak({ weakly }: Condition): void {
  if (weakly === true) return;
  throw new OperatingError('not-strict', 'conditions need a strict container');
}
