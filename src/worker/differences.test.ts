import { describe, expect, it } from 'vitest';
import { Differences } from './differences.ts';

function setUp() {
  const clock = { ms: 0 };
  return { clock, differences: new Differences(() => clock.ms) };
}

describe('a difference', () => {
  it('is opened when it is there twice in the same form', () => {
    const { differences } = setUp();
    expect(differences.judge('p', 'a')).toBe('wait');
    expect(differences.judge('q', 'a')).toBe('wait');
    expect(differences.judge('p', 'a')).toBe('open');
  });

  it('that never stays the same is opened at the seventh look', () => {
    const { differences } = setUp();
    for (let look = 0; look < 6; look++) expect(differences.judge('p', `${look}`)).toBe('wait');
    expect(differences.judge('p', 'x')).toBe('open');
  });

  it('that was opened and stays is left alone for a minute', () => {
    const { clock, differences } = setUp();
    differences.judge('p', 'a');
    differences.opened('p', 'a');
    expect(differences.judge('p', 'a')).toBe('settled');
    clock.ms = 60_000;
    expect(differences.judge('p', 'a')).toBe('open');
    differences.opened('p', 'a');
    expect(differences.judge('p', 'b')).toBe('wait');
  });

  it('begins anew when it was gone', () => {
    const { differences } = setUp();
    differences.judge('p', 'a');
    differences.clear('p');
    expect(differences.judge('p', 'a')).toBe('wait');
  });
});
