/** IAM's roles: made by a project, taken on with STS's AssumeRole by whom their trust policies name. */
import { arnOf } from '#identity/iam/names.ts';
import type { IamRole } from '#identity/records.ts';
import {
  type IamAction,
  type IamCall,
  invalid,
  mustBeAllowed,
  page,
  required,
  trace,
} from './iam-call.ts';
import { documentOf } from './iam-policies.ts';
import { element, isoSeconds, leaf } from './query-xml.ts';

const MIN_SESSION_SECONDS = 3600;
const MAX_SESSION_SECONDS = 43_200;
const MAX_DESCRIPTION = 1000;

function roleXml(role: IamRole): string {
  return (
    leaf('Path', '/') +
    leaf('RoleName', role.name) +
    leaf('RoleId', role.id) +
    leaf('Arn', arnOf(role.projectId, 'role', role.name)) +
    leaf('CreateDate', isoSeconds(role.createdMs)) +
    leaf('AssumeRolePolicyDocument', encodeURIComponent(role.trust)) +
    leaf('Description', role.description) +
    leaf('MaxSessionDuration', role.maxSessionSeconds)
  );
}

function descriptionOf({ fields }: IamCall): string | undefined {
  const text = fields['Description'];
  if ((text?.length ?? 0) <= MAX_DESCRIPTION) return text;
  throw invalid('The specified value for Description is invalid.');
}

function sessionSecondsOf({ fields }: IamCall): number | undefined {
  const text = fields['MaxSessionDuration'];
  if (text === undefined) return undefined;
  const seconds = Number(text);
  const fits = seconds >= MIN_SESSION_SECONDS && seconds <= MAX_SESSION_SECONDS;
  if (Number.isInteger(seconds) && fits) return seconds;
  throw invalid('The specified value for MaxSessionDuration is invalid.');
}

const createRole: IamAction = async (call) => {
  const name = required(call, 'RoleName');
  mustBeAllowed(call, 'role', name);
  const trust = documentOf(call, 'AssumeRolePolicyDocument', { trust: true });
  const wanted = { name, trust, description: descriptionOf(call) };
  const maxSessionSeconds = sessionSecondsOf(call);
  const role = await call.api.identity.iam.roles.create(call.project, {
    ...wanted,
    maxSessionSeconds,
  });
  trace(call, { role: role.id });
  return element('Role', roleXml(role));
};

const getRole: IamAction = async (call) => {
  const name = required(call, 'RoleName');
  mustBeAllowed(call, 'role', name);
  return element('Role', roleXml(await call.api.identity.iam.roles.get(call.project, name)));
};

const listRoles: IamAction = async (call) => {
  mustBeAllowed(call, 'role', '*');
  const roles = await call.api.identity.iam.roles.list(call.project.id);
  return page(call, 'Roles', roles, roleXml);
};

const updateRole: IamAction = async (call) => {
  const name = required(call, 'RoleName');
  mustBeAllowed(call, 'role', name);
  const [description, maxSessionSeconds] = [descriptionOf(call), sessionSecondsOf(call)];
  await call.api.identity.iam.roles.update(call.project, name, {
    ...(description !== undefined && { description }),
    ...(maxSessionSeconds !== undefined && { maxSessionSeconds }),
  });
  trace(call, { name });
  return '';
};

const updateTrust: IamAction = async (call) => {
  const name = required(call, 'RoleName');
  mustBeAllowed(call, 'role', name);
  const trust = documentOf(call, 'PolicyDocument', { trust: true });
  await call.api.identity.iam.roles.update(call.project, name, { trust });
  trace(call, { name });
  return undefined;
};

const deleteRole: IamAction = async (call) => {
  const name = required(call, 'RoleName');
  mustBeAllowed(call, 'role', name);
  await call.api.identity.iam.roles.remove(call.project, name);
  trace(call, { name });
  return undefined;
};

export const ROLE_ACTIONS: Readonly<Record<string, IamAction>> = {
  CreateRole: createRole,
  GetRole: getRole,
  ListRoles: listRoles,
  UpdateRole: updateRole,
  UpdateAssumeRolePolicy: updateTrust,
  DeleteRole: deleteRole,
};
