import { expect, it } from 'vitest';
import { Reaper } from './reaper.ts';

it('takes what an error left behind the next time', async () => {
  const reaper = new Reaper(() => Promise.resolve());
  const gone: string[] = [];
  let isFull = true;
  for (const name of ['a', 'b', 'c']) {
    reaper.add({
      from: { segment: 1, offset: 0 },
      folder: '/blobs',
      busy: () => false,
      unlink: () => {
        if (name === 'b' && isFull) return Promise.reject(new Error('no room'));
        gone.push(name);
        return Promise.resolve();
      },
    });
  }
  const position = { segment: 2, offset: 0 };
  await expect(reaper.release(position)).rejects.toThrow('no room');
  isFull = false;
  expect(reaper.waiting).toBe(2);
  expect(await reaper.release(position)).toBe(2);
  expect(gone).toEqual(['a', 'b', 'c']);
});
