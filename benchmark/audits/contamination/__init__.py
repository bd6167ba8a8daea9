"""Whether weights have seen the images on which they are judged: by declaration and by measurement."""
