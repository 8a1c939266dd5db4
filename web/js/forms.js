// forms.js: forms that were sent, unless the browser finds them wrong.

feature(() => {
  if (o.forms) on('submit', (e) => {
    const f = e.target
    if (!(o.claimed && o.claimed(f)) && (f.noValidate || f.checkValidity())) track('Form: Submission')
  })
})
