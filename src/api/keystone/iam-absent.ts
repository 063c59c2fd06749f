/**
 * What users and roles never have here: passwords of a console, tokens, certificates, managed policies,
 * tags. Tools (terraform, awscli's scripts) ask for all of these before they delete somebody, so the answer is
 * that there are none; what would make one stays refused.
 */
import { noSuchEntity } from '#identity/iam/faults.ts';
import {
  type IamAction,
  type IamCall,
  mustBeAllowed,
  optional,
  page,
  required,
} from './iam-call.ts';

/** An empty list about a user, or about who calls. */
function noneOfUser(list: string): IamAction {
  return async (call) => {
    await checkUser(call);
    return none(call, list);
  };
}

async function checkUser(call: IamCall): Promise<void> {
  const name = optional(call, 'UserName');
  mustBeAllowed(call, 'user', name ?? call.actor.caller.userName);
  if (name === undefined || name === call.actor.caller.userName) return;
  await call.api.identity.iam.people.user(call.project, name);
}

function noneOfRole(list: string): IamAction {
  return async (call) => {
    const name = required(call, 'RoleName');
    mustBeAllowed(call, 'role', name);
    await call.api.identity.iam.roles.get(call.project, name);
    return none(call, list);
  };
}

function noneOfAccount(list: string): IamAction {
  return async (call) => {
    mustBeAllowed(call, 'user', '*');
    return none(call, list);
  };
}

function none(call: IamCall, list: string): string {
  return page(call, list, [], () => '');
}

const loginProfile: IamAction = async (call) => {
  await checkUser(call);
  throw noSuchEntity('login profile', optional(call, 'UserName') ?? call.actor.caller.userName);
};

export const ABSENT_ACTIONS: Readonly<Record<string, IamAction>> = {
  ListUserTags: noneOfUser('Tags'),
  ListMFADevices: noneOfUser('MFADevices'),
  ListSSHPublicKeys: noneOfUser('SSHPublicKeys'),
  ListSigningCertificates: noneOfUser('Certificates'),
  ListServiceSpecificCredentials: noneOfUser('ServiceSpecificCredentials'),
  GetLoginProfile: loginProfile,
  DeleteLoginProfile: loginProfile,
  ListRoleTags: noneOfRole('Tags'),
  ListInstanceProfilesForRole: noneOfRole('InstanceProfiles'),
  ListPolicies: noneOfAccount('Policies'),
  ListVirtualMFADevices: noneOfAccount('VirtualMFADevices'),
  ListAccountAliases: noneOfAccount('AccountAliases'),
};
