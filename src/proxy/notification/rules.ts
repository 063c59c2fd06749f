/**
 * Who is told what about a bucket, as its container header `s3-notification` keeps it.
 *
 *     {"v":1,"rules":[{"id":"x","kind":"Topic","arn":"arn:anello:webhook:::https://example.org/hook",
 *       "url":"https://example.org/hook","events":["s3:ObjectCreated:*"],"prefix":"in/","suffix":".jpg"}]}
 */
import { OperatingError } from '#base/errors.ts';

export const NOTIFICATION_HEADER = 's3-notification';
const VERSION = 1;

export interface NotificationRule {
  readonly id: string;
  /** Which element named it. */
  readonly kind: 'Topic' | 'Queue';
  /** As it was given. */
  readonly arn: string;
  readonly url: string;
  readonly events: readonly string[];
  readonly prefix?: string;
  readonly suffix?: string;
}

export function encodeNotification(rules: readonly NotificationRule[]): string {
  return JSON.stringify({ v: VERSION, rules });
}

/** What `encodeNotification` made. @throws OperatingError `newer-format` */
export function decodeNotification(text: string): readonly NotificationRule[] {
  const { v, rules } = JSON.parse(text) as { v: number; rules: readonly NotificationRule[] };
  if (v <= VERSION) return rules;
  throw new OperatingError('newer-format', 'notifications of a newer version', { version: v });
}

/** `event`: `ObjectCreated:Put`; rules name it in full, or its family as `s3:ObjectCreated:*`. */
export function rulesFor(
  rules: readonly NotificationRule[],
  event: string,
  key: string,
): readonly NotificationRule[] {
  const family = `${event.slice(0, event.lastIndexOf(':'))}:*`;
  return rules.filter(
    ({ events, prefix = '', suffix = '' }) =>
      (events.includes(`s3:${event}`) || events.includes(`s3:${family}`)) &&
      key.startsWith(prefix) &&
      key.endsWith(suffix),
  );
}
