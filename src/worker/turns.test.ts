/** Where only some of many can be tried at a time, all come to be tried. */
import { expect, it } from 'vitest';
import { Turns } from './turns.ts';

it('takes those that had no turn yet, in the order given, and then all of them again', () => {
  const turns = new Turns<{ name: string }>();
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => ({ name }));
  expect(turns.take([a!, b!, c!], 2)).toEqual([a, b]);
  expect(turns.take([a!, d!, b!, c!], 1)).toEqual([d]);
  expect(turns.take([a!, b!, c!], 2)).toEqual([c]);
  expect(turns.take([b!, a!, c!], 2)).toEqual([b, a]);
  expect(turns.take([], 2)).toEqual([]);
});
