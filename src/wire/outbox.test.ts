import { describe, expect, it } from 'vitest';
import { FLAG_END, FRAME, HEADER_BYTES } from './format.ts';
import { DATA_BATCH_BYTES, Outbox } from './outbox.ts';

/** A socket that notes what is written, and a clock whose turn ends when told. */
function setUp(room = true) {
  const written: Uint8Array[] = [];
  const deferred: (() => void)[] = [];
  const state = { room, corked: false, systemCalls: 0, control: 0, data: [] as number[] };
  const socket = {
    bufferedBytes: 0,
    write: (bytes: Uint8Array) => {
      written.push(bytes);
      if (!state.corked) state.systemCalls++;
      return state.room;
    },
    cork: () => {
      state.corked = true;
    },
    uncork: () => {
      state.corked = false;
      state.systemCalls++;
    },
  };
  const outbox: Outbox = new Outbox({
    socket: socket as never,
    clock: { defer: (task: () => void) => deferred.push(task) } as never,
    summed: true,
    micros: () => 1,
    addControl: () => {
      state.control++;
    },
    addData: () => {
      for (let length = state.data.shift(); length !== undefined; length = state.data.shift()) {
        if (!outbox.data(FLAG_END, 1, [Buffer.alloc(length)], length)) return;
      }
    },
  });
  const endTurn = (): void => {
    for (const task of deferred.splice(0)) task();
  };
  return { outbox, state, written, endTurn };
}

function typesOf(written: Uint8Array[]): number[] {
  const all = Buffer.concat(written);
  const types: number[] = [];
  for (let at = 0; at < all.length; at += HEADER_BYTES + all.readUIntBE(at, 3))
    types.push(all[at + 8]!);
  return types;
}

describe('what one turn sends', () => {
  it('leaves in one system call, small frames in one piece', () => {
    const { outbox, state, written, endTurn } = setUp();
    for (let i = 0; i < 100; i++) outbox.frame(FRAME.cancel, 0, i, Buffer.from('x'));
    expect(written).toHaveLength(0);
    endTurn();
    expect(written).toHaveLength(1);
    expect(state.systemCalls).toBe(1);
    expect(typesOf(written)).toHaveLength(100);
  });

  it('keeps the order of frames of any size', () => {
    const { outbox, state, written, endTurn } = setUp();
    const sizes = [10, 40_000, 5, 70_000, 60_000, 1, 20_000, 20_000, 20_000, 20_000, 3];
    for (const size of sizes) outbox.frame(FRAME.reply, 0, 1, Buffer.alloc(size, 1));
    endTurn();
    const all = Buffer.concat(written);
    const seen: number[] = [];
    for (let at = 0; at < all.length; at += HEADER_BYTES + all.readUIntBE(at, 3))
      seen.push(all.readUIntBE(at, 3));
    expect(seen).toEqual(sizes);
    expect(state.systemCalls).toBe(1);
  });

  it('has control before data', () => {
    const { outbox, state, written, endTurn } = setUp();
    state.data = [100, 100];
    outbox.schedule();
    outbox.frame(FRAME.ping, 0, 0, Buffer.alloc(16));
    endTurn();
    expect(typesOf(written)).toEqual([FRAME.ping, FRAME.data, FRAME.data]);
  });

  it('has so much data at most, and none while the socket has no room', () => {
    const { outbox, state, written, endTurn } = setUp(false);
    state.data = Array.from({ length: 20 }, () => DATA_BATCH_BYTES / 4);
    outbox.schedule();
    endTurn();
    expect(typesOf(written)).toHaveLength(4);
    outbox.frame(FRAME.ping, 0, 0, Buffer.alloc(16));
    endTurn();
    expect(typesOf(written).at(-1)).toBe(FRAME.ping);
    outbox.drained();
    expect(typesOf(written)).toHaveLength(9);
  });

  it('never touches again what a socket was given', () => {
    const { outbox, written, endTurn } = setUp();
    outbox.frame(FRAME.cancel, 0, 1, Buffer.from('first'));
    endTurn();
    const before = Buffer.from(written[0]!);
    for (let i = 0; i < 5000; i++) {
      outbox.frame(FRAME.cancel, 0, 3, Buffer.from('second'));
      if (i % 100 === 0) endTurn();
    }
    endTurn();
    expect(before.equals(written[0]!)).toBe(true);
  });
});
