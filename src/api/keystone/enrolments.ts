/**
 * Self-service, beyond Keystone: `POST /v3/anello/users` enrols (no token: the invitation is the proof,
 * or registration is open), `/v3/anello/invitations` is for administrators. What an enrolled user then
 * manages by themselves is Keystone's own: password, S3 keys, application credentials. What their project
 * holds is told by usage.ts.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { idSchema, nameSchema } from '#identity/id.ts';
import type { Invitation } from '#identity/records.ts';
import { isoTime, type KeystoneApi, pathId, readBody } from './api.ts';

const DEFAULT_DAYS = 14;
const MAX_DAYS = 366;
const DAY_MS = 24 * 3600 * 1000;
const MIN_PASSWORD = 8;

const newUser = z.object({
  user: z.object({
    // A colon would make the name ambiguous in ACLs and in v1's project:user.
    name: nameSchema.max(64).regex(/^[^:/,\s][^:/,]*$/, 'a name without : / or comma'),
    password: z.string().min(MIN_PASSWORD).max(4096),
    email: z.string().max(320).optional(),
    invitation: z.string().max(128).optional(),
  }),
});
const newInvitation = z.object({
  invitation: z.object({
    project_id: idSchema,
    roles: z
      .array(z.object({ name: nameSchema }))
      .min(1)
      .max(16),
    days: z.number().int().min(1).max(MAX_DAYS).default(DEFAULT_DAYS),
    uses: z.number().int().min(1).max(10_000).default(1),
  }),
});

export function enrolmentRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const { enrolments, roles } = api.identity;
  const render = ({ id, projectId, roleIds, uses, expiresMs }: Invitation) => ({
    ...{ id, project_id: projectId, roles: roleIds.map((roleId) => ({ id: roleId })), uses },
    expires_at: isoTime(expiresMs),
  });

  app.post('/v3/anello/users', async (c) => {
    const { user: wanted } = await readBody(c, newUser);
    const { user, project } = await enrolments.enrol({ ...wanted, address: api.deps.address(c) });
    const body = { id: user.id, name: user.name, project: { id: project.id, name: project.name } };
    return c.json({ user: body }, 201);
  });

  app.get('/v3/anello/invitations', async (c) => {
    api.admin(c);
    return c.json({ invitations: (await enrolments.list()).map(render) });
  });

  app.post('/v3/anello/invitations', async (c) => {
    const caller = api.admin(c);
    const { invitation: wanted } = await readBody(c, newInvitation);
    const found = await Promise.all(wanted.roles.map(({ name }) => roles.find(name)));
    const missing = wanted.roles.find((_, i) => found[i] === undefined);
    if (missing !== undefined)
      throw new OperatingError('bad-request', `No such role: ${missing.name}.`);
    const { code, invitation } = await enrolments.invite({
      projectId: wanted.project_id,
      roleIds: found.map((role) => role!.id),
      expiresMs: api.nowMs() + wanted.days * DAY_MS,
      uses: wanted.uses,
    });
    api.audit(caller, 'invitation.create', { id: invitation.id, project: invitation.projectId });
    return c.json({ invitation: { ...render(invitation), code } }, 201);
  });

  app.delete('/v3/anello/invitations/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'invitation');
    if (!(await enrolments.withdraw(id))) {
      throw new OperatingError('not-found', `Could not find invitation: ${id}.`);
    }
    api.audit(caller, 'invitation.delete', { id });
    return c.body(null, 204);
  });
  return app;
}
