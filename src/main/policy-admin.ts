/**
 * Containers' storage policies, over the admin HTTP of a storage node:
 *
 *   GET  /container-policy?path=/ACCOUNT/CONTAINER    which, and how far a change is
 *   POST /container-policy {path, policy}             changes it (proxy/policy-move/README.md)
 *
 * What changes something takes JSON only, so that no web page can send it from a browser.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { type ContainerName, containerPath } from '#base/names.ts';
import type { Operation } from '#proxy/contract.ts';
import type { ContainerPolicies } from '#proxy/policy-move/container-policies.ts';

const changeSchema = z.object({
  path: z.string().max(2_048),
  policy: z.string().min(1).max(256),
});

const STATUS_OF: Readonly<Record<string, 400 | 404 | 503>> = {
  'bad-name': 400,
  'wrong-use': 400,
  'no-policy': 400,
  'no-container': 404,
  unavailable: 503,
};

export function createPolicyAdmin(policies: ContainerPolicies): Hono {
  const app = new Hono();
  app.get('/container-policy', async (context) => {
    const name = nameOf(context.req.query('path') ?? '');
    const containers = await policies.status(operationOf(context), name);
    if (containers.length === 0) throw noContainer(name);
    return context.json({ containers });
  });
  app.post('/container-policy', async (context) => {
    if (context.req.header('content-type') !== 'application/json') throw wrongUse('not JSON');
    const parsed = changeSchema.safeParse(await context.req.json().catch(() => undefined));
    if (!parsed.success) throw wrongUse(z.prettifyError(parsed.error));
    const name = nameOf(parsed.data.path);
    const changes = await policies.change(operationOf(context), name, parsed.data.policy);
    if (changes.length === 0) throw noContainer(name);
    const refused = changes.find(({ outcome }) => outcome === 'refused' || outcome === 'conflict');
    return context.json({ changes }, refused === undefined ? 200 : 409);
  });
  app.onError((error, context) =>
    context.json({ error: messageOf(error) }, STATUS_OF[codeOf(error)] ?? 500),
  );
  return app;
}

/** @throws OperatingError `wrong-use`, `bad-name` */
function nameOf(path: string): ContainerName {
  const [, account = '', container = '', more] = /^\/([^/]+)\/([^/]+)(\/.*)?$/.exec(path) ?? [];
  if (account === '' || more !== undefined) throw wrongUse('path: /ACCOUNT/CONTAINER');
  const name = { account, container };
  containerPath(name);
  return name;
}

function operationOf(context: Context): Operation {
  return { txn: 'container-policy', signal: context.req.raw.signal, read: 'quorum' };
}

function noContainer(name: ContainerName): OperatingError {
  return new OperatingError('no-container', `there is no container ${containerPath(name)}`);
}

function wrongUse(message: string): OperatingError {
  return new OperatingError('wrong-use', message);
}
