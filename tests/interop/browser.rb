# frozen_string_literal: true

# Sidekiq Web without a server: requests pages as a browser does, and presses the buttons on them.

require "cgi"
require "rack/mock"
require "rack/utils"
require "sidekiq/web"

class Browser
  include Interop

  def initialize
    @web = Rack::MockRequest.new(Sidekiq::Web)
    @session = {}
  end

  # The page, which has to answer 200.
  def get(path)
    response = @web.get(path, env)
    assert_equal 200, response.status, "GET #{path}"
    response.body.dup.force_encoding("UTF-8")
  end

  def json(path) = JSON.parse(get(path))

  # Where the page leads to.
  def redirect(path)
    response = @web.get(path, env)
    assert_equal 302, response.status, "GET #{path}"
    URI(response["Location"]).path
  end

  # Presses the button called `name` in the form of a page that holds all of `texts`. Ticks the
  # boxes whose value holds one of them.
  def press(path, name, *texts)
    form = forms(path).find { |found| [*texts, %(name="#{name}")].all? { |text| found.include?(text) } }
    assert form, "no form on #{path} with #{texts} has the button #{name}"
    post(form[/<form[^>]* action="([^"]*)"/, 1] || path, fields(form).select do |field|
      case field["type"]
      when "hidden" then true
      when "checkbox" then texts.any? { |text| field["value"]&.include?(text) }
      else field["name"] == name
      end
    end)
  end

  # Presses the button for all jobs of a page: the one of a form of its own, or, since Sidekiq 8,
  # one whose target differs from that of its form.
  def press_all(path, name)
    target = "#{path}/all/#{name}"
    form = forms(path).find { |found| found.include?(%(action="#{target}")) }
    assert form, "no button on #{path} leads to #{target}"
    post(target, fields(form).select { |field| field["type"] == "hidden" })
  end

  private

  # The headers that a browser sends with a click of a visitor of the site.
  def env = { "rack.session" => @session, "HTTP_SEC_FETCH_SITE" => "same-origin" }

  def forms(path) = get(path).scan(%r{<form.*?</form>}m)

  def fields(form) = form.scan(/<(?:input|button)[^>]*>/).map { |tag| attributes(tag) }

  def post(target, fields)
    response = @web.post(target, env.merge(params: query(fields)))
    assert_equal 302, response.status, "POST #{target}"
  end

  def attributes(tag) = tag.scan(/([\w-]+)=(["'])(.*?)\2/).to_h { |name, _, value| [name, CGI.unescapeHTML(value)] }

  def query(fields) = fields.map { |field| [field["name"], field["value"] || ""].map { |text| Rack::Utils.escape(text) }.join("=") }.join("&")
end
