/**
 * Stream ids: the dialler's calls have odd ids, the acceptor's even ones, each counting up by two
 * and around (2^31 calls later an id is long free). So any id can be told apart by arithmetic:
 * open, over (late frames of it are normal: a cancellation crosses its reply), or never opened,
 * which only a broken peer sends.
 */
const STEP = 2;

export class StreamIds {
  #next: number;

  /** `next`: where to go on; for tests of the turn. */
  constructor(first: 1 | 2, next: number = first) {
    this.#next = next;
  }

  /** An id that `isOpen` does not know. */
  issue(isOpen: (id: number) => boolean): number {
    for (;;) {
      const id = this.#next;
      this.#next = (id + STEP) >>> 0;
      if (id !== 0 && !isOpen(id)) return id;
    }
  }

  /** Whether an id of this side's parity was issued before. */
  wasIssued(id: number): boolean {
    return ((this.#next - id) | 0) > 0;
  }
}

export class PeerStreamIds {
  readonly #parity: 0 | 1;
  #last: number;

  constructor(first: 1 | 2, last: number = first - STEP) {
    this.#parity = first === 1 ? 1 : 0;
    this.#last = last | 0;
  }

  isPeers(id: number): boolean {
    return (id & 1) === this.#parity;
  }

  wasOpened(id: number): boolean {
    return ((this.#last - id) | 0) >= 0;
  }

  /** A CALL opens `id`: false unless it counts up. */
  open(id: number): boolean {
    if (id === 0 || !this.isPeers(id) || this.wasOpened(id)) return false;
    this.#last = id | 0;
    return true;
  }
}
