/**
 * The request target: `/v1/ACCOUNT[/CONTAINER[/OBJECT]]?query`, taken from the raw bytes of the request
 * line. Neither `URL` nor a router sees it: they would resolve dot segments and merge slashes, and
 * `a//b`, `..` and `%2e%2e` are names of objects like any others.
 */

import { percentDecode } from '../http/utf8.ts';
import { refuse } from './errors.ts';

export interface Target {
  readonly account: string;
  readonly container: string | undefined;
  readonly object: string | undefined;
}

const VERSION = /^\/v1(?:\.0)?(?=\/|$)/;

/** @throws Refusal `bad-name`, `bad-url`, `unknown-version` */
export function parseTarget(rawPath: string): Target {
  const path = percentDecode(rawPath);
  if (path === undefined) throw refuse('bad-name');
  const version = VERSION.exec(path);
  if (version === null) throw refuse(/^\/v\d/.test(path) ? 'unknown-version' : 'bad-url');
  const accountStart = version[0].length + 1;
  const accountEnd = nextSlash(path, accountStart);
  const account = path.slice(accountStart, accountEnd);
  if (account === '') throw refuse('bad-url');
  const containerEnd = nextSlash(path, accountEnd + 1);
  const container = path.slice(accountEnd + 1, containerEnd);
  const object = path.slice(containerEnd + 1);
  if (container === '') {
    if (containerEnd < path.length) throw refuse('bad-url');
    return { account, container: undefined, object: undefined };
  }
  return { account, container, object: object === '' ? undefined : object };
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf('/', from);
  return at < 0 ? path.length : at;
}

/** `container/object`, with or without a slash in front, as in Destination and X-Copy-From. */
export function parseObjectPath(
  text: string,
): { readonly container: string; readonly object: string } | undefined {
  const start = text.startsWith('/') ? 1 : 0;
  const slash = text.indexOf('/', start);
  if (slash <= start || slash === text.length - 1) return undefined;
  return { container: text.slice(start, slash), object: text.slice(slash + 1) };
}
