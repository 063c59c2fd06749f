/** What the primaries of an entry have of it: asked, and given what they lack, by a device that holds it for them. */
import { bodyLength } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import type { Device, Entry, EntryKey } from '#device/contract.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { EntryAddress, StatArgs, StatReply, Target, WriteArgs } from './calls.ts';
import { isFreedVersion, versionKey } from './version.ts';

/** What a primary has of an entry. */
export interface Given {
  readonly primary: RingDevice;
  /** versionKey() of its state. */
  readonly version: string;
  /** It counts, and has the body where it should. */
  readonly isSafe: boolean;
  /** It counts, and its version has expired: it keeps no bytes. */
  readonly isFreed: boolean;
}

const DEADLINE_MS = 10_000;

export class PrimaryCopies {
  readonly #caller: Caller;
  readonly #self: { readonly node: string };

  constructor(caller: Caller, self: { readonly node: string }) {
    this.#caller = caller;
    this.#self = self;
  }

  /** What each of membersOf() has, after having been given what it lacked. */
  give(device: Device, ring: Ring, entry: Entry): Promise<PromiseSettledResult<Given>[]> {
    return Promise.allSettled(
      membersOf(ring, entry.key.hash).map((member) => this.#give(device, ring, entry, member)),
    );
  }

  /** What each of membersOf() knows, whether it has the body or not. @throws WireError */
  look(ring: Ring, entry: Entry): Promise<Given[]> {
    return Promise.all(
      membersOf(ring, entry.key.hash).map((member) =>
        this.#look(ring, entry, { ...member, keepsBody: false }),
      ),
    );
  }

  /** The encoded state that a primary has now. @throws WireError */
  async state(ring: Ring, primary: RingDevice, key: EntryKey): Promise<Buffer | undefined> {
    const args: StatArgs = { ...addressOf(ring, primary, key) };
    const { state } = (await this.#call(primary, 'object.stat', args)) as StatReply;
    return state === null ? undefined : Buffer.from(state);
  }

  async #give(device: Device, ring: Ring, entry: Entry, member: Member): Promise<Given> {
    const before = await this.#look(ring, entry, member);
    if (before.isSafe && before.version === versionKey(entry.state)) return before;
    // Nothing here can revive it (incoming.ts).
    if (entry.state.data === undefined && before.isFreed) return before;
    const sources: Target[] = entry.hasBody ? [{ device: device.id, node: this.#self.node }] : [];
    const args: WriteArgs = {
      ...addressOf(ring, member.primary, entry.key),
      path: entry.path,
      state: encodeState(entry.state),
      intent: 'join',
      unlisted: entry.unlisted,
      ...(member.keepsBody && sources.length > 0 && { sources }),
      from: device.id,
    };
    await this.#call(member.primary, 'object.write', args);
    return this.#look(ring, entry, member);
  }

  async #look(ring: Ring, entry: Entry, { primary, keepsBody }: Member): Promise<Given> {
    const args: StatArgs = { ...addressOf(ring, primary, entry.key), brief: true };
    const reply = (await this.#call(primary, 'object.stat', args)) as StatReply;
    const { version, complete, hasBody } = reply;
    const isOther = version !== versionKey(entry.state);
    // Of another version it is not known here whether it wants a body: only one that is there is safe.
    const needsBody = isOther || bodyLength(entry.state) > 0;
    const isSafe = complete && (hasBody || !keepsBody || !needsBody);
    return { primary, version, isSafe, isFreed: complete && isFreedVersion(version) };
  }

  async #call(primary: RingDevice, method: string, args: unknown): Promise<unknown> {
    const options = { txn: 'handover', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#caller.call(primary.node, method, args, options)).result;
  }
}

/** Where an entry belongs. */
export interface Member {
  readonly primary: RingDevice;
  /** Not only its state. */
  readonly keepsBody: boolean;
}

/** While joint, of both sets: either may be the one that counts in the end. */
export function membersOf(ring: Ring, hash: Buffer): Member[] {
  const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
  return [primaries, former].flatMap((set) =>
    set.map((primary, i) => ({ primary, keepsBody: i < ring.copies })),
  );
}

function addressOf(ring: Ring, { id }: RingDevice, { policy, hash }: EntryKey): EntryAddress {
  return { device: id, policy, hash, ringVersion: ring.version };
}
