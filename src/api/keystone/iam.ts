/**
 * AWS's IAM as far as a project's owners need it: POST to `/` with `Action`, signed for the service `iam`
 * with S3 keys, as AWS's own clients do. A project is an account; what is made here (users, groups, roles,
 * policies) is the project's alone. What is not offered (paths, tags, managed policies, boundaries) is
 * refused, never ignored.
 */
import { type Context, Hono } from 'hono';
import { callerOf } from '#auth/caller-of-token.ts';
import { OperatingError } from '#base/errors.ts';
import type { KeystoneApi } from './api.ts';
import { ABSENT_ACTIONS } from './iam-absent.ts';
import { actorOf } from './iam-actor.ts';
import type { IamAction, IamCall } from './iam-call.ts';
import { GROUP_ACTIONS } from './iam-groups.ts';
import { POLICY_ACTIONS } from './iam-policies.ts';
import { ROLE_ACTIONS } from './iam-roles.ts';
import { USER_ACTIONS } from './iam-users.ts';
import { answer, failure, type QueryService } from './query-xml.ts';
import { signedCaller } from './sts-caller.ts';

const IAM: QueryService = {
  name: 'iam',
  namespace: 'https://iam.amazonaws.com/doc/2010-05-08/',
  errors: {
    'bad-request': [400, 'ValidationError'],
    'unknown-action': [400, 'InvalidAction'],
    'malformed-policy': [400, 'MalformedPolicyDocument'],
    unauthorized: [403, 'AccessDenied'],
    forbidden: [403, 'AccessDenied'],
    'iam-denied': [403, 'AccessDenied'],
    'iam-no-such-entity': [404, 'NoSuchEntity'],
    'iam-already-exists': [409, 'EntityAlreadyExists'],
    'iam-delete-conflict': [409, 'DeleteConflict'],
    'iam-limit': [409, 'LimitExceeded'],
    conflict: [409, 'ConcurrentModification'],
    'sts-incomplete-signature': [400, 'IncompleteSignature'],
    'sts-no-signature': [403, 'MissingAuthenticationToken'],
    'sts-unknown-key': [403, 'InvalidClientTokenId'],
    'sts-wrong-signature': [403, 'SignatureDoesNotMatch'],
    'sts-expired': [403, 'SignatureDoesNotMatch'],
    'state-unavailable': [503, 'ServiceUnavailable'],
    busy: [503, 'ServiceUnavailable'],
  },
};

const ACTIONS: Readonly<Record<string, IamAction>> = {
  ...USER_ACTIONS,
  ...GROUP_ACTIONS,
  ...ROLE_ACTIONS,
  ...POLICY_ACTIONS,
  ...ABSENT_ACTIONS,
};

/** What callers may send and nothing here keeps. */
const NOT_OFFERED = /^(Tags\.|PermissionsBoundary|NewPath|PathPrefix)/;
const SIGNED_FOR_IAM = /^AWS4-HMAC-SHA256 .*Credential=[^,\s]*\/iam\/aws4_request/;

export function iamRoutes(api: KeystoneApi): Hono {
  return new Hono().post('/', async (c, next) => {
    if (!SIGNED_FOR_IAM.test(c.req.header('Authorization') ?? '')) return next();
    try {
      return await perform(api, c);
    } catch (error) {
      return failure(api, c, IAM, error);
    }
  });
}

async function perform(api: KeystoneApi, c: Context): Promise<Response> {
  const body = await c.req.text();
  const fields = Object.fromEntries(new URLSearchParams(body));
  const caller = await signedCaller(api, c, body, 'iam');
  if (caller?.token.project === undefined || caller.keys !== 'stored') {
    // A session could make itself what lasts.
    throw new OperatingError('forbidden', 'IAM is called with the keys of a user, not a session.');
  }
  const action = fields['Action'] ?? '';
  const run = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
  if (run === undefined)
    throw new OperatingError('unknown-action', `Could not find operation ${action}.`);
  checkOffered(fields);
  const { identity } = api;
  const project = await identity.projects.get(caller.token.project.id);
  const actor = actorOf(api, c, callerOf(identity.directory, caller.token));
  const call: IamCall = { api, c, action, actor, project, fields };
  const result = await run(call);
  return answer(api, c, IAM, { action, ...(result !== undefined && { result }) });
}

function checkOffered(fields: Readonly<Record<string, string>>): void {
  const other = Object.keys(fields).find((name) => NOT_OFFERED.test(name));
  const prefix = other === 'PathPrefix' && fields['PathPrefix'] === '/';
  if (other !== undefined && !prefix)
    throw new OperatingError('bad-request', `${other} is not offered here.`);
  if ((fields['Path'] ?? '/') !== '/')
    throw new OperatingError('bad-request', 'The only path here is "/".');
}
