/**
 * What the rows of uploads and parts tell: their content types carry it, so that a listing needs no look
 * at the objects behind it.
 *
 *     application/x-anello-part; crc32=AAAAAA==; replaces=1700000000000000
 *     application/x-anello-upload; initiator=USER; algorithm=crc32; checksumType=COMPOSITE
 *
 * `replaces`: whoever sent this part saw those of its number up to that time (microseconds, as listed).
 * Uploads that were begun before have `application/json`, which tells nothing.
 */
import type { ListedObject } from '../contract.ts';
import type { UploadRecord } from './upload-record.ts';

type Fields = Readonly<Record<string, string>>;

const PART = 'application/x-anello-part';
const REPLACES = 'replaces';
const UPLOAD = 'application/x-anello-upload';

export type UploadRow = Partial<Pick<UploadRecord, 'initiator' | 'algorithm' | 'checksumType'>>;

export function partType(checksums: Fields, replaces?: number): string {
  const told: Fields = replaces === undefined ? {} : { [REPLACES]: String(replaces) };
  return withFields(PART, { ...checksums, ...told });
}

export function uploadType({ initiator, algorithm, checksumType, asked }: UploadRecord): string {
  const told: Fields = asked ? { algorithm, checksumType } : {};
  return withFields(UPLOAD, { initiator: encodeURIComponent(initiator), ...told });
}

export function checksumsOfRow({ contentType }: Pick<ListedObject, 'contentType'>): Fields {
  const { [REPLACES]: _, ...checksums } = fieldsOf(contentType);
  return checksums;
}

export function replacedByRow({
  contentType,
}: Pick<ListedObject, 'contentType'>): number | undefined {
  const { [REPLACES]: micros } = fieldsOf(contentType);
  return micros === undefined ? undefined : Number(micros);
}

export function uploadOfRow({ contentType }: Pick<ListedObject, 'contentType'>): UploadRow {
  const { initiator, algorithm, checksumType } = fieldsOf(contentType);
  const isType = checksumType === 'FULL_OBJECT' || checksumType === 'COMPOSITE';
  return {
    ...(initiator && { initiator: decodeURIComponent(initiator) }),
    ...(algorithm && { algorithm }),
    ...(isType && { checksumType }),
  };
}

function withFields(type: string, fields: Fields): string {
  return [type, ...Object.entries(fields).map(([name, value]) => `${name}=${value}`)].join('; ');
}

function fieldsOf(contentType: string): Fields {
  const [, ...fields] = contentType.split('; ');
  return Object.fromEntries(
    fields.map((field) => {
      const equals = field.indexOf('=');
      return [field.slice(0, equals), field.slice(equals + 1)];
    }),
  );
}
