import { expect } from 'vitest';

/** Equal bytes. (`toEqual` walks buffers element by element, which takes seconds for large ones.) */
export function expectBytes(actual: Buffer, expected: Buffer): void {
  expect(actual.length).toBe(expected.length);
  expect(actual.equals(expected), 'the bytes are right').toBe(true);
}
