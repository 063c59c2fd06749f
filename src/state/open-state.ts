/** The state store that a configuration names: `sqlite:PATH`, or `etcd:URL,URL,URL` (nearest first). */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { openEtcdState } from './etcd-state.ts';
import { openSqliteState } from './sqlite-state.ts';
import type { State } from './state.ts';

/** @throws OperatingError `bad-state-url` */
export function openState(
  env: Pick<Env, 'clock' | 'disk' | 'random' | 'log'>,
  where: string,
  fetch: typeof globalThis.fetch,
): State {
  const named = parse(where);
  if (named?.driver === 'sqlite') return openSqliteState(env, named.file);
  if (named?.driver === 'etcd') return openEtcdState(env, { endpoints: named.endpoints, fetch });
  throw new OperatingError(
    'bad-state-url',
    `a state store is sqlite:PATH or etcd:http://HOST:PORT,..., not ${where}`,
  );
}

/** Whether it has the form of one. */
export function isStateUrl(where: string): boolean {
  return parse(where) !== undefined;
}

type Named =
  | { readonly driver: 'sqlite'; readonly file: string }
  | { readonly driver: 'etcd'; readonly endpoints: readonly string[] };

function parse(where: string): Named | undefined {
  const colon = where.indexOf(':');
  const [driver, rest] = [where.slice(0, colon), where.slice(colon + 1)];
  if (driver === 'sqlite' && rest !== '') return { driver, file: rest };
  const endpoints = rest.split(',').map((url) => url.trim().replace(/\/$/, ''));
  return driver === 'etcd' && endpoints.every(isHttp) ? { driver, endpoints } : undefined;
}

function isHttp(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/';
}
