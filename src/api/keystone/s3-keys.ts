/**
 * POST /v3/anello/s3-keys, beyond Keystone: a proxy that is no identity service itself fetches the
 * signing key of an S3 access key for one day, region and service. For callers with role `service`.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { MAX_TOKEN_LENGTH } from '#identity/token.ts';
import { isAdmin, isService, type KeystoneApi, notAuthorized, readBody } from './api.ts';

const schema = z.object({
  s3_key: z.object({
    access: z.string().min(1).max(128),
    day: z.string().max(8),
    region: z.string().max(64),
    service: z.string().max(64),
    session_token: z.string().max(MAX_TOKEN_LENGTH).optional(),
  }),
});

export function s3KeyRoutes(api: KeystoneApi): Hono {
  return new Hono().post('/v3/anello/s3-keys', async (c) => {
    const caller = api.caller(c);
    if (!isService(caller) && !isAdmin(caller)) throw notAuthorized();
    const { session_token: sessionToken, ...request } = (await readBody(c, schema)).s3_key;
    const key = await api.identity.s3Keys.issue({ ...request, sessionToken });
    if (key === undefined) throw new OperatingError('not-found', 'Could not find a usable key.');
    const { signingKey, token } = key;
    return c.json({ s3_key: { signing_key: signingKey.toString('base64'), token } });
  });
}
