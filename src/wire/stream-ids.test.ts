import { describe, expect, it } from 'vitest';
import { PeerStreamIds, StreamIds } from './stream-ids.ts';

const never = (): boolean => false;

describe('stream ids', () => {
  it('of the dialler are odd, of the acceptor even, and count up', () => {
    const odd = new StreamIds(1);
    const even = new StreamIds(2);
    expect([1, 2, 3].map(() => odd.issue(never))).toEqual([1, 3, 5]);
    expect([1, 2, 3].map(() => even.issue(never))).toEqual([2, 4, 6]);
    expect(odd.wasIssued(5)).toBe(true);
    expect(odd.wasIssued(7)).toBe(false);
  });

  it('go round after 2^31 calls, past those still open and past 0', () => {
    const ids = new StreamIds(2, 0xffff_fffc);
    const peer = new PeerStreamIds(2, 0xffff_fffa);
    const isOpen = (id: number): boolean => id === 2;
    const issued = [1, 2, 3, 4].map(() => ids.issue(isOpen));
    expect(issued).toEqual([0xffff_fffc, 0xffff_fffe, 4, 6]);
    for (const id of issued) expect(peer.open(id)).toBe(true);
    expect(ids.wasIssued(0xffff_fffe)).toBe(true);
    expect(ids.wasIssued(8)).toBe(false);
    expect(peer.wasOpened(0xffff_fffe)).toBe(true);
    expect(peer.wasOpened(8)).toBe(false);
  });

  it('of a peer must be new, of its parity, and not 0', () => {
    const peer = new PeerStreamIds(1);
    expect(peer.wasOpened(1)).toBe(false);
    expect(peer.open(3)).toBe(true);
    expect([3, 1, 2, 0].map((id) => peer.open(id))).toEqual([false, false, false, false]);
    expect(peer.open(5)).toBe(true);
    expect([1, 3, 5, 7].map((id) => peer.wasOpened(id))).toEqual([true, true, true, false]);
  });
});
