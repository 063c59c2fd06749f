/** A template of deploy/ with its context filled in. What a template names and the context lacks is an error. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Handlebars from 'handlebars';

const FOLDER = new URL('../../deploy/', import.meta.url);

const TEMPLATES = [
  'haproxy.cfg',
  'anello.service',
  'nftables.conf',
  'etcd.env',
  'prometheus.yml',
  'anello-rules.yml',
  'grafana-dashboard.json',
] as const;
export type TemplateName = (typeof TEMPLATES)[number];

/** Nothing is escaped: none of these is HTML, and every value was checked when it was set. */
export function render(name: TemplateName, context: object): string {
  const file = fileURLToPath(new URL(`${name}.hbs`, FOLDER));
  const template = Handlebars.compile(readFileSync(file, 'utf8'), {
    noEscape: true,
    strict: true,
    knownHelpersOnly: true,
  });
  return template(context);
}
