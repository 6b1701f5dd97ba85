/** A bar with words; `value` is a percentage, or undefined when nobody knows. */
export function Progress({
  label,
  detail,
  value,
}: {
  label: string;
  detail?: string | undefined;
  value?: number | undefined;
}) {
  return (
    <div class="progress">
      <div class="progress-words">
        <span>{label}</span>
        {detail && <span class="quiet">{detail}</span>}
      </div>
      <progress aria-label={label} max={100} {...(value === undefined ? {} : { value })} />
    </div>
  );
}
