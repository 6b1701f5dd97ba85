import { t } from '../i18n/index.js';
import { Page } from '../parts/page.js';

export default function StudioPage() {
  return <Page title={t().studio.title}>{null}</Page>;
}
