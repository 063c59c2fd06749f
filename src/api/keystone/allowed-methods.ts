/** Which methods a path takes: a path that is there answers 405 to the others, not 404. */
import type { Hono } from 'hono';

interface Pattern {
  readonly method: string;
  readonly segments: readonly string[];
}

export class AllowedMethods {
  readonly #patterns: readonly Pattern[];

  constructor({ routes }: Pick<Hono, 'routes'>) {
    this.#patterns = routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => ({ method, segments: path.split('/') }));
  }

  /** None: there is no such path. */
  of(path: string): string[] {
    const segments = path.split('/');
    const methods = new Set<string>();
    for (const pattern of this.#patterns) {
      if (!fits(pattern.segments, segments)) continue;
      methods.add(pattern.method);
      if (pattern.method === 'GET') methods.add('HEAD');
    }
    return [...methods].sort();
  }
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false;
  return pattern.every((part, i) =>
    part.startsWith(':') ? segments[i] !== '' : part === segments[i],
  );
}
