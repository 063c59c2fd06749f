/** The five calls that every kind of record has: list, create, show, change and delete. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import { defined, type KeystoneApi, pathId, readBody } from './api.ts';
import { filterListed, type Listed } from './filters.ts';
import { Renderer } from './render.ts';

/** A kind of record: what its body holds, where it is kept, and how it is shown. */
export interface Resource<Item extends Listed, Fields extends z.ZodObject, New, Change> {
  /** As bodies name one of them, and paths many: `domain`, `/v3/domains`. */
  readonly kind: string;
  /** What a client may send, beside what is kept as it came. */
  readonly fields: Fields;
  readonly store: {
    list(): Promise<Item[]>;
    get(id: string): Promise<Item>;
    create(wanted: New): Promise<Item>;
    update(id: string, change: Change): Promise<Item>;
    remove(id: string): Promise<void>;
  };
  readonly wanted: (body: z.output<Fields>, caller: VerifiedToken) => New;
  /** What is undefined stays as it is. */
  readonly change: (body: Partial<z.output<Fields>>) => Change;
  readonly render: (c: Context, item: Item) => Record<string, unknown>;
  /** What GET of one shows beside that, where the query asks for more. */
  readonly more?: (c: Context, item: Item) => Promise<Record<string, unknown>>;
  /** Those of all that this request asks for; Keystone's usual filters when absent. */
  readonly listed?: (c: Context, items: readonly Item[]) => readonly Item[];
  /** Who may be shown one of them; administrators only when absent. @throws OperatingError `forbidden` */
  readonly maySee?: (c: Context, id: string) => void | Promise<void>;
}

export function resourceRoutes<
  Item extends Listed,
  Fields extends z.ZodObject,
  New,
  Change extends object,
>(api: KeystoneApi, resource: Resource<Item, Fields, New, Change>): Hono {
  const { kind, store, render, maySee = (c) => void api.admin(c) } = resource;
  const { listed = filterListed } = resource;
  const app = new Hono();
  const renderer = new Renderer(api);
  const [all, one] = [`/v3/${kind}s`, `/v3/${kind}s/:id`];
  const created = z.object({ [kind]: resource.fields });
  const changed = z.object({ [kind]: resource.fields.partial() });
  const shown = (c: Context, item: Item) => ({ [kind]: render(c, item) });

  app.get(all, async (c) => {
    api.admin(c);
    const found = listed(c, await store.list());
    const items = found.map((item) => render(c, item));
    return renderer.list(c, `${kind}s`, items);
  });

  app.post(all, async (c) => {
    const caller = api.admin(c);
    const body = await readBody(c, created);
    const item = await store.create(resource.wanted(body[kind] as z.output<Fields>, caller));
    api.audit(caller, `${kind}.create`, { id: item.id, name: item.name });
    return c.json(shown(c, item), 201);
  });

  app.get(one, async (c) => {
    const id = pathId(c, 'id', kind);
    await maySee(c, id);
    const item = await store.get(id);
    const more = await resource.more?.(c, item);
    return c.json({ [kind]: { ...render(c, item), ...more } });
  });

  app.patch(one, async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', kind);
    const body = await readBody(c, changed);
    const change = defined(resource.change(body[kind] as Partial<z.output<Fields>>)) as Change;
    const item = await store.update(id, change);
    api.audit(caller, `${kind}.update`, { id, fields: Object.keys(change).join(',') });
    return c.json(shown(c, item));
  });

  app.delete(one, async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', kind);
    await store.remove(id);
    api.audit(caller, `${kind}.delete`, { id });
    return c.body(null, 204);
  });
  return app;
}
