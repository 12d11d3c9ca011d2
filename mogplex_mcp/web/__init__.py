"""The pages that a person sees: landing, sign-in, consent, connections."""
