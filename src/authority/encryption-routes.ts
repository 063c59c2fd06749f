/** Keys that objects are encrypted with: operators list and make them; no key itself leaves here. */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { type AuthorityHono, input } from './http-input.ts';

export interface ObjectKeyView {
  readonly id: string;
  /** '' for the store's own. */
  readonly name: string;
  readonly createdMs: number;
}

export interface ObjectKeyStore {
  /** Oldest first. */
  list(): Promise<readonly ObjectKeyView[]>;
  make(name: string): Promise<ObjectKeyView>;
}

const wanted = z
  .object({
    name: z.string().max(64).default(''),
    /** `create`: the name is new. `rotate`: it is there. */
    how: z.enum(['create', 'rotate']),
  })
  .strict();

export function encryptionRoutes(app: AuthorityHono, keys: ObjectKeyStore): void {
  app.get('/v1/encryption/keys', async (context) => context.json((await keys.list()).map(viewOf)));
  app.post('/v1/encryption/keys', async (context) => {
    const { name, how } = await input(context, wanted);
    const isThere = (await keys.list()).some((key) => key.name === name);
    if (how === 'create' && isThere)
      throw new OperatingError('name-taken', `there is a key of this name: ${name}`);
    // The store's own is made when it is first needed, or now.
    if (how === 'rotate' && !isThere && name !== '')
      throw new OperatingError('unknown-key', `there is no key of this name: ${name}`);
    return context.json(viewOf(await keys.make(name)), 201);
  });
}

function viewOf({ id, name, createdMs }: ObjectKeyView): ObjectKeyView {
  return { id, name, createdMs };
}
