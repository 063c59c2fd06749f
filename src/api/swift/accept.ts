/** Which of the offered media types a client likes best (Accept, RFC 9110 12.5.1). */
interface Choice {
  readonly type: string;
  readonly quality: number;
}

const MAX_CHOICES = 64;

/** Undefined: none of them. `offered` in the server's order of preference. */
export function bestMatch<Type extends string>(
  accept: string | undefined,
  offered: readonly Type[],
): Type | undefined {
  if (accept === undefined || accept.trim() === '') return offered[0];
  const choices = accept.split(',', MAX_CHOICES).map(parseChoice);
  let best: Type | undefined;
  let bestQuality = 0;
  for (const type of offered) {
    const quality = qualityOf(type, choices);
    if (quality > bestQuality) {
      best = type;
      bestQuality = quality;
    }
  }
  return best;
}

function parseChoice(text: string): Choice {
  const [type, ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const given = parameters.find((parameter) => parameter.startsWith('q='));
  const quality = given === undefined ? 1 : Number(given.slice(2));
  return { type: type ?? '', quality: Number.isNaN(quality) ? 0 : quality };
}

/** The most specific choice that fits counts. */
function qualityOf(type: string, choices: readonly Choice[]): number {
  const group = `${type.slice(0, type.indexOf('/'))}/*`;
  for (const pattern of [type, group, '*/*']) {
    const fitting = choices.filter((choice) => choice.type === pattern);
    if (fitting.length > 0) return Math.max(...fitting.map((choice) => choice.quality));
  }
  return 0;
}
