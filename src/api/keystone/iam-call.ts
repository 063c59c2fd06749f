/**
 * One call of IAM: its parameters, who calls, and what they may. A call is signed with stored S3 keys (a
 * session makes nothing that outlasts it) and is about the project of these keys.
 */
import type { Context } from 'hono';
import { OperatingError } from '#base/errors.ts';
import { arnOf, type IamKind } from '#identity/iam/names.ts';
import type { Project } from '#identity/records.ts';
import type { KeystoneApi } from './api.ts';
import { type Actor, ownDecision } from './iam-actor.ts';
import { element, leaf } from './query-xml.ts';

export interface IamCall {
  readonly api: KeystoneApi;
  readonly c: Context;
  readonly action: string;
  readonly actor: Actor;
  readonly project: Project;
  readonly fields: Readonly<Record<string, string>>;
}

/** Undefined: it answers nothing but that it was done. */
export type IamAction = (call: IamCall) => Promise<string | undefined>;

const NAME = /^[\w+=,.@-]{1,64}$/;
const POLICY_NAME = /^[\w+=,.@-]{1,128}$/;
const ACCESS = /^[\w.:-]{3,128}$/;
const MAX_ITEMS = 1000;
const DEFAULT_ITEMS = 100;

const FORMS: Readonly<Record<string, RegExp>> = {
  PolicyName: POLICY_NAME,
  AccessKeyId: ACCESS,
};

/** @throws OperatingError `bad-request` */
export function required(call: IamCall, name: string): string {
  const value = optional(call, name);
  if (value !== undefined) return value;
  throw invalid(`Value null at '${name}' failed to satisfy constraint: Member must not be null`);
}

/** A name of something. @throws OperatingError `bad-request` */
export function optional({ fields }: IamCall, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || (FORMS[name] ?? NAME).test(value)) return value;
  throw invalid(`The specified value for ${name} is invalid.`);
}

export function invalid(message: string): OperatingError {
  return new OperatingError('bad-request', message);
}

/**
 * That the caller may do this to that: their policies, or being the project's owner.
 * @throws OperatingError `iam-denied`
 */
export function mustBeAllowed(call: IamCall, kind: IamKind, name: string): void {
  const { actor, action, project } = call;
  const resource = arnOf(project.id, kind, name);
  if (ownDecision(actor, `iam:${action}`, resource) === 'allow') return;
  const who = arnOf(project.id, 'user', actor.caller.userName);
  throw new OperatingError(
    'iam-denied',
    `User: ${who} is not authorized to perform: iam:${action} on resource: ${resource}`,
  );
}

/** Leaves a trace, as every act of administration does. */
export function trace({ api, actor, action, project }: IamCall, facts: object): void {
  const by = actor.caller.userId;
  api.deps.log.info('identity.iam-act', { act: action, by, project: project.id, ...facts });
}

/** `<NAME><member>...</member></NAME>` of one page, by names, and how to go on. */
export function page<Item extends { readonly name: string }>(
  call: IamCall,
  list: string,
  items: readonly Item[],
  render: (item: Item) => string,
): string {
  const { Marker: marker, MaxItems: wanted } = call.fields;
  const limit = wanted === undefined ? DEFAULT_ITEMS : Number(wanted);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ITEMS)
    throw invalid('The specified value for MaxItems is invalid.');
  const after = marker === undefined ? undefined : Buffer.from(marker, 'base64url').toString();
  const rest = items
    .filter(({ name }) => after === undefined || name > after)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const shown = rest.slice(0, limit);
  const next = rest.length > limit ? Buffer.from(shown.at(-1)!.name).toString('base64url') : '';
  return (
    element(list, shown.map((item) => element('member', render(item))).join('')) +
    leaf('IsTruncated', next !== '') +
    (next === '' ? '' : leaf('Marker', next))
  );
}
