/** What IAM's callers are told, by code; api/keystone/iam-reply.ts has the table of statuses. */
import { OperatingError } from '#base/errors.ts';
import type { IamKind } from './names.ts';

export function noSuchEntity(
  kind: IamKind | 'policy' | 'access key' | 'login profile',
  name: string,
) {
  return new OperatingError('iam-no-such-entity', `The ${kind} with name ${name} cannot be found.`);
}

export function alreadyExists(kind: IamKind, name: string): OperatingError {
  const message = `${kind[0]!.toUpperCase()}${kind.slice(1)} with name ${name} already exists.`;
  return new OperatingError('iam-already-exists', message);
}

export function deleteConflict(message: string): OperatingError {
  return new OperatingError('iam-delete-conflict', message);
}

export function limitExceeded(what: string, most: number): OperatingError {
  return new OperatingError('iam-limit', `Cannot exceed quota for ${what}: ${most}`);
}
