/**
 * Up to when every device of the cluster is known to have swept: has finished a full round that began after
 * that moment (consistency.md, "Reclaim"). A device that does not answer holds it back for ever, until
 * it returns or no ring has it any more.
 */
import type { Ring } from '#ring/ring.ts';
import type { DeviceState } from './messages.ts';

interface Sweep {
  run: string;
  /** Rounds begun when it was asked at `askedMs`. */
  begun: number;
  askedMs: number;
  /** A round that began after this moment has been finished; undefined: none yet. */
  sweptMs: number | undefined;
}

export class Sweeps {
  readonly #sweeps = new Map<number, Sweep>();

  /** A device's answer to a question that was sent at `askedMs`, this node's wall clock. */
  told({ id, run, roundsBegun, roundsDone }: DeviceState, askedMs: number): void {
    const known = this.#sweeps.get(id);
    // What an earlier run, or incarnation, had finished is not forgotten, but it promises no more.
    if (known === undefined || known.run !== run) {
      const sweptMs = sameIncarnation(known?.run, run) ? known?.sweptMs : undefined;
      this.#sweeps.set(id, { run, begun: roundsBegun, askedMs, sweptMs });
      return;
    }
    if (roundsDone <= known.begun) return;
    known.sweptMs = known.askedMs;
    known.begun = roundsBegun;
    known.askedMs = askedMs;
  }

  /**
   * Of all devices of all rings: a device of one ring may bring back what another ring has forgotten, for
   * it sends the rows of its objects. Undefined: one of them is not known to have finished any round.
   */
  sweptMs(rings: Iterable<Ring>): number | undefined {
    let least = Number.POSITIVE_INFINITY;
    for (const id of devicesOf(rings)) {
      const swept = this.#sweeps.get(id)?.sweptMs;
      if (swept === undefined) return undefined;
      least = Math.min(least, swept);
    }
    return least === Number.POSITIVE_INFINITY ? undefined : least;
  }

  /** Devices that hold reclaim back: nothing was heard of a round of theirs since then. */
  behind(rings: Iterable<Ring>, sinceMs: number): number[] {
    const ids = [...devicesOf(rings)];
    return ids.filter((id) => (this.#sweeps.get(id)?.sweptMs ?? 0) < sinceMs);
  }
}

function devicesOf(rings: Iterable<Ring>): Set<number> {
  const ids = new Set<number>();
  for (const ring of rings)
    for (const device of ring.devices) if (device !== undefined) ids.add(device.id);
  return ids;
}

/** A device that was wiped has swept nothing: what it is given back may be older than what it had. */
function sameIncarnation(before: string | undefined, now: string): boolean {
  return before !== undefined && before.split('.')[1] === now.split('.')[1];
}
