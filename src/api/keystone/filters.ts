/** What lists are asked for: yes or no, by name, domain and state. */
import type { Context } from 'hono';

const TRUE = new Set(['true', '1', '', 'yes', 'on']);

/** A yes-or-no query parameter as clients send it: `?enabled`, `?enabled=True`, `=1`. */
export function queryFlag(c: Context, name: string): boolean | undefined {
  const value = c.req.query(name);
  return value === undefined ? undefined : TRUE.has(value.toLowerCase());
}

export interface Listed {
  readonly id: string;
  readonly name?: string;
  readonly domainId?: string;
  readonly enabled?: boolean;
}

/** Keystone's inexact filters: `name__contains=`, each also without regard to case (`icontains`). */
const INEXACT: Readonly<Record<string, (name: string, wanted: string) => boolean>> = {
  contains: (name, wanted) => name.includes(wanted),
  startswith: (name, wanted) => name.startsWith(wanted),
  endswith: (name, wanted) => name.endsWith(wanted),
};

/** Whether the name is one that the query asks for. */
export function nameMatches(c: Context, name = ''): boolean {
  const exact = c.req.query('name');
  if (exact !== undefined && exact !== name) return false;
  return Object.entries(INEXACT).every(([comparison, holds]) => {
    const wanted = c.req.query(`name__${comparison}`);
    if (wanted !== undefined && !holds(name, wanted)) return false;
    const folded = c.req.query(`name__i${comparison}`);
    return folded === undefined || holds(name.toLowerCase(), folded.toLowerCase());
  });
}

/** The filters that every list of Keystone has. */
export function filterListed<Item extends Listed>(c: Context, items: readonly Item[]): Item[] {
  const domainId = c.req.query('domain_id');
  const enabled = queryFlag(c, 'enabled');
  return items.filter(
    (item) =>
      nameMatches(c, item.name) &&
      (domainId === undefined || item.domainId === domainId) &&
      (enabled === undefined || item.enabled === enabled),
  );
}
